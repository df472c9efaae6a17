"""Cannot be imported: what it needs is missing."""

import a_package_that_nobody_has  # type: ignore[import-not-found] # noqa: F401 - the point of it
