"""Who may do what to images, under OpenStack's rule names.

Which images a caller can see at all is a question of the query (``listing.visible_to``); these
rules say what may be done to an image that is seen. A bare service role acts for a recorded
project when the user's own token is gone, so it may do what a member of that project may.
"""

from __future__ import annotations

from collections.abc import Mapping

_METADEF_NOUNS = ("namespace", "namespaces", "object", "objects", "property", "properties", "tag",
                  "tags", "resource_type")  # fmt: skip
_METADEF_CHANGES = (
    *((verb, noun) for verb in ("add", "modify") for noun in
      ("namespace", "object", "property", "tag")),
    ("add", "tags"),
    *(("delete", noun) for noun in ("namespace", "object", "tag", "tags")),
    ("remove", "property"),
    *((verb, "resource_type_association") for verb in ("add", "remove")),
)  # fmt: skip
_WRITE = "rule:member or role:service"

RULES: Mapping[str, str] = {
    "get_images": "rule:reader",
    "get_image": "rule:reader",
    "download_image": "rule:reader",
    "add_image": _WRITE,
    "modify_image": _WRITE,
    "upload_image": _WRITE,
    "delete_image": _WRITE,
    "publicize_image": "rule:admin",
    "communitize_image": _WRITE,
    "set_image_owner": "rule:admin or role:service",
    "deactivate": _WRITE,
    "reactivate": _WRITE,
    "download_deactivated": "rule:admin",
    "get_members": "rule:reader",
    "get_member": "rule:reader",
    "add_member": "rule:member",
    "modify_member": "rule:member",
    "delete_member": "rule:member",
    "copy_image": "rule:admin",
    "fetch_image_location": "rule:admin or role:service",
    "add_image_location": "rule:admin or role:service or rule:member",
    "delete_image_location": "rule:admin",
    "tasks_api_access": "rule:admin",
    "stores_info_detail": "rule:admin",
    "get_usage": "rule:reader",
    "cache_list": "rule:admin",
    "cache_image": "rule:admin",
    "cache_delete": "rule:admin",
    "cache_clean": "rule:admin",
    "cache_prune": "rule:admin",
    **{f"get_metadef_{noun}": "rule:reader" for noun in _METADEF_NOUNS},
    "list_metadef_resource_types": "rule:reader",
    **{f"{verb}_metadef_{noun}": "rule:admin" for verb, noun in _METADEF_CHANGES},
    "get_schemas": "rule:any",
    "get_info": "rule:any",
}
