"""AWS's rules for identity policies, as far as cluster/iam uses them: is one well formed, and what does it allow?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "cluster" / "iam"
BUCKET = "zoo"
# The actions used, what they are about, and the condition keys that AWS has in a request for them (from its Service
# Authorization Reference). A condition on another key would never hold, without a word.
ACTIONS = {
    "s3:GetObject": ("object", set()),
    "s3:PutObject": ("object", {"s3:x-amz-server-side-encryption", "s3:x-amz-storage-class"}),
    "s3:DeleteObject": ("object", set()),
    "s3:AbortMultipartUpload": ("object", set()),
    "s3:ListMultipartUploadParts": ("object", set()),
    "s3:ListBucket": ("bucket", {"s3:prefix", "s3:delimiter", "s3:max-keys"}),
    "s3:ListBucketMultipartUploads": ("bucket", set()),
    "kms:Decrypt": ("key", {"kms:ViaService", "kms:EncryptionContext:aws:s3:arn"}),
    "kms:GenerateDataKey": ("key", {"kms:ViaService", "kms:EncryptionContext:aws:s3:arn"}),
}  # fmt: skip
RESOURCES = {
    "object": r"arn:aws:s3:::[a-z0-9.-]{3,63}/.+",
    "bucket": r"arn:aws:s3:::[a-z0-9.-]{3,63}",
    "key": r"arn:aws:kms:[^:]+:[^:]+:key/.+",
}
OPERATORS = {"StringLike", "StringEquals", "Null"}
LONGEST_MANAGED_POLICY = 6144  # characters, white space apart


def policy(role: str) -> dict[str, Any]:
    """The policy of a role for the bucket `zoo`."""
    return json.loads((FOLDER / f"{role}.json").read_text().replace("${bucket}", BUCKET))


def faults(document: Mapping[str, Any]) -> list[str]:
    """What AWS would refuse of an identity policy, or take and never apply."""
    found = []
    if document.get("Version") != "2012-10-17" or set(document) != {"Version", "Statement"}:
        found.append("a policy has a Version, 2012-10-17, and Statements")
    if len(re.sub(r"\s", "", json.dumps(document))) > LONGEST_MANAGED_POLICY:
        found.append("too long for a managed policy")
    if "${" in json.dumps(document):
        found.append("a placeholder is left")
    statements = document.get("Statement", [])
    names = [statement.get("Sid", "") for statement in statements]
    found += [
        f"Sid '{name}'" for name in names if not re.fullmatch("[A-Za-z0-9]+", name) or names.count(name) > 1
    ]
    for statement in statements:
        where = statement.get("Sid", "?")
        if set(statement) - {"Sid", "Effect", "Action", "Resource", "Condition"}:
            found.append(f"{where}: unknown element")
        if statement.get("Effect") not in ("Allow", "Deny"):
            found.append(f"{where}: Effect")
        if not statement.get("Action") or not statement.get("Resource"):
            found.append(f"{where}: no Action or no Resource")
        conditions = {key for keys in statement.get("Condition", {}).values() for key in keys}
        found += [f"{where}: operator {name}" for name in set(statement.get("Condition", {})) - OPERATORS]
        for action in statement.get("Action", []):
            kind, keys = ACTIONS.get(action, ("", set()))
            if not kind:
                found.append(f"{where}: unknown action {action}")
                continue
            bad = [arn for arn in statement["Resource"] if not re.fullmatch(RESOURCES[kind], arn)]
            found += [f"{where}: {action} is about a {kind}, not {arn}" for arn in bad]
            found += [f"{where}: {action} has no {key}" for key in conditions - keys]
    return found


def allows(
    document: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Whether a policy allows the action on the ARN: some statement does, and none denies it."""
    effects = {
        statement["Effect"]
        for statement in document["Statement"]
        if any(_like(pattern, action) for pattern in statement["Action"])
        and any(_like(pattern, resource) for pattern in statement["Resource"])
        and _holds(statement.get("Condition", {}), context or {})
    }
    return effects == {"Allow"}


def allows_object(document: Mapping[str, Any], action: str, key: str) -> bool:
    return allows(document, f"s3:{action}", f"arn:aws:s3:::{BUCKET}/{key}")


def _holds(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """All conditions must hold; StringLike and StringEquals do not where the request lacks the key."""
    for operator, keys in conditions.items():
        for key, wanted in keys.items():
            values = [wanted] if isinstance(wanted, str) else wanted
            if operator == "Null":
                if (key not in context) is not (values == ["true"]):
                    return False
            elif key not in context or not any(_like(value, context[key]) for value in values):
                return False
    return True


def _like(pattern: str, text: str) -> bool:
    """IAM's wildcards: * matches anything, / included, and ? one character."""
    words = {"*": ".*", "?": "."}
    return re.fullmatch("".join(words.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None
