"""One error type for each way the zoo can fail. Every message is a sentence that says what to do next."""


class ZooError(Exception):
    """Base of all errors that the zoo raises on purpose; the command line prints it and exits with 1."""


class BadName(ZooError):
    """A model name or reference that the grammar of `zoo.names` does not accept."""


class BadFilter(ZooError):
    """A condition or an order of a listing that the grammar of `zoo.filters` does not accept, or an unknown field."""


class UnknownModel(ZooError):
    """A well-formed name, version or alias that the store does not hold."""


class CollectedVersion(UnknownModel):
    """A version that `zoo gc --keep-last` took away. Its number is not given again."""


class BundleError(ZooError):
    """A bundle that is incomplete, malformed or disagrees with its name."""


class PathRefused(BundleError):
    """A file's name leads out of the bundle, or means different files on different machines."""


class FileRefused(BundleError):
    """A file that no bundle may hold: a link, a device, a kind that is not on the list, one that is not listed."""


class PickleRefused(BundleError):
    """A file in a bundle is, or may be, a pickle. Nothing was unpickled."""


class ArchiveRefused(BundleError):
    """A file in a bundle is an archive or compressed. Nothing was unpacked."""


class ContentRefused(BundleError):
    """A text, table or picture in a bundle is malformed, or would do something where it is shown or loaded."""


class WeightsRefused(BundleError):
    """A weights file whose header is not that of a sound safetensors file. No tensor was read."""


class TooLarge(BundleError):
    """A file or a bundle is, or claims to be, larger than the zoo takes."""


class SchemaTooNew(BundleError):
    """Written by a newer latentact-zoo than this one."""


class DamagedBundle(BundleError):
    """Bytes that do not have the digest their manifest promises."""


class ManifestRefused(DamagedBundle):
    """A manifest that cannot be read, or says what no manifest says."""


class DamagedArchive(BundleError):
    """A file that `zoo import` was given and that no `zoo export` wrote, or not all of it."""


class StoreError(ZooError):
    """The object store refused or failed a request."""


class StoreUnreachable(StoreError):
    """Nothing answered at the store's address."""


class StoreDenied(StoreError):
    """The store answered, and does not accept the credentials."""


class UnsafeStore(StoreError):
    """Conditional writes do not work in this store, so that versions and aliases are not safe there."""


class CacheError(StoreError):
    """The cache of this machine cannot be written, or its disk has no room."""


class DamagedRecord(StoreError):
    """An object that says what a version or an alias is, and does not say it in the way that the zoo writes it."""


class ObjectMissing(StoreError):
    """No object has this key."""


class Conflict(StoreError):
    """A conditional write lost: the object is not in the state that the caller expected."""


class GateRefused(ZooError):
    """The gate did not let a version take an alias. `verdict` is what it found, where it was asked."""

    def __init__(self, message: str, *, verdict: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.verdict = verdict


class RollbackRefused(ZooError):
    """An alias cannot be put back to the state that was asked for."""


class ExportError(ZooError):
    """The archive cannot be written where it should go."""


class RegistryError(ZooError):
    """MLflow could not be brought in line with the store. The store itself is complete."""


class Offline(ZooError):
    """The cache lacks what was asked for, and LATENTACT_OFFLINE forbids going to the store."""


def is_for_users(error: ValueError) -> bool:
    """Whether it is one of trainables' own errors, a sentence about an input; any other ValueError is a defect."""
    return type(error).__module__.startswith("trainables.")


class GalleryError(ZooError):
    """A model's gallery cannot be drawn here: other data, another hand, or clips that are not there."""


class InputError(ZooError):
    """What a prediction was asked from, or for, is not usable: a photo, a point, a table of inputs, a device."""


class OutputError(ZooError):
    """A prediction cannot be written where it should go."""
