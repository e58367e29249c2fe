"""A rendering read as the API server reads it strictly."""

from typing import Any

import yaml

from helpers.errors import Problem


class _Loader(yaml.CSafeLoader):
    """YAML as the API server reads it strictly: no key twice, dates stay text."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = key_node.value
        if key in seen and key != "<<":
            raise Problem(
                f"The key '{key}' stands twice in one mapping "
                f"(line {key_node.start_mark.line + 1}); a strict API server refuses that."
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if not pair[0].endswith(":timestamp")]
    for first, pairs in _Loader.yaml_implicit_resolvers.items()
}


def parse(manifest: str) -> list[Any]:
    """The documents of a rendering.

    Raises:
        Problem: It is not YAML, or a key stands twice in a mapping.
    """
    try:
        return [one for one in yaml.load_all(manifest, _Loader) if one is not None]
    except yaml.YAMLError as error:
        raise Problem(f"The rendering is not valid YAML: {error}.") from error
