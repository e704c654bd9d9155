"""What is taken out of a text, and what must stay in it."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest

from sweeps.redacted import redacted

VALUE = 'p"a/ss&w0rd+x'


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", VALUE)
    monkeypatch.setenv("HF_TOKEN", VALUE[:8])  # the beginning of another secret
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


@pytest.mark.parametrize("form", [VALUE, quote(VALUE, safe=""), json.dumps(VALUE)[1:-1], html.escape(VALUE)])
def test_values_of_the_environment_go_in_every_form(form: str) -> None:
    assert redacted(f"<{form}>{form}") == "<[removed]>[removed]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://id:se@cret@bucket/a/b", "s3://bucket/a/b"),
        ("(https://token@host:80/x?X-Amz-Signature=1234&y=2#part)", "(https://host:80/x"),
        ('{"url": "s3://b/c?access_key=a1b2"}', '{"url": "s3://b/c"}'),
        ("aws_secret_access_key = abcd/efgh+1", "aws_secret_access_key = [removed]"),
        ('{"password": "with, a \' mark"}', '{"password": [removed]}'),
        (r'"{\"api_key\": \"abcd1234\"}"', r'"{\"api_key\": [removed]}"'),
        ("export AWS_SESSION=whatever it is", "export AWS_SESSION=[removed] it is"),
        ("Authorization: Bearer abcdef0123456789abcdef", "Authorization: Bearer [removed]"),
        ("key AKIAIOSFODNN7EXAMPLE is wrong", "key [removed] is wrong"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend", "[removed]\nend"),
        ("/path?X-Amz-Credential=abc/def&X-Amz-Date=1", "/path?X-Amz-Credential=[removed]&X-Amz-Date=1"),
    ],
)
def test_places_of_secrets_are_emptied(text: str, expected: str) -> None:
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "codes=256 decoder_depth=2 seed=0: loss is nan after epoch 3",
        "latentact-world-objects@champion, champion. better by 0.31 cm (p = 0.01)",
        "http://127.0.0.1:5000/#/experiments/1/runs/0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "out of memory, tried again with batch 16 (CUDA out of memory. Tried to allocate 2.00 GiB)",
        "s3://bucket/trials/0123456789abcdef/checkpoint_000001 false",
        "mail me@example.org about the basic idea of tokens and keys",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert redacted(text) == text
