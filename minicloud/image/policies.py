"""Who may do what to images, under OpenStack's rule names.

Which images a caller can see at all is a question of the query (``listing.visible_to``); these
rules say what may be done to an image that is seen. A bare service role acts for a recorded
project when the user's own token is gone, so it may do what a member of that project may.
"""

from __future__ import annotations

from collections.abc import Mapping

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
    "get_schemas": "rule:any",
    "get_info": "rule:any",
}
