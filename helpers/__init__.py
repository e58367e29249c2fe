"""The package behind the notebooks: from a profile to a run, from a run to its evidence."""

import sys

# jsonschema compiles a grammar for IRIs when it is imported, for seconds; no schema here has IRIs
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
