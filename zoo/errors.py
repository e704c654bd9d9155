"""One error type for each way the zoo can fail. Every message is a sentence that says what to do next."""


class ZooError(Exception):
    """Base of all errors that the zoo raises on purpose; the command line prints it and exits with 1."""


class BadName(ZooError):
    """A model name or reference that the grammar of `zoo.names` does not accept."""


class UnknownModel(ZooError):
    """A well-formed name, version or alias that the store does not hold."""


class BundleError(ZooError):
    """A bundle that is incomplete, malformed or disagrees with its name."""


class PickleRefused(BundleError):
    """A file in a bundle is, or may be, a pickle. Nothing was unpickled."""


class DamagedBundle(BundleError):
    """Bytes that do not have the digest their manifest promises."""


class StoreError(ZooError):
    """The object store refused or failed a request."""


class StoreUnreachable(StoreError):
    """Nothing answered at the store's address."""


class StoreDenied(StoreError):
    """The store answered, and does not accept the credentials."""


class ObjectMissing(StoreError):
    """No object has this key."""


class Conflict(StoreError):
    """A conditional write lost: the object is not in the state that the caller expected."""


class GateRefused(ZooError):
    """The gate did not let a version take an alias."""


class RegistryError(ZooError):
    """MLflow could not be brought in line with the store. The store itself is complete."""


class Offline(ZooError):
    """The cache lacks what was asked for, and LATENTACT_OFFLINE forbids going to the store."""
