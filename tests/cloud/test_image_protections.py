"""Protected properties: who may make, read, change and remove which."""

from __future__ import annotations

from pathlib import Path

import pytest
from image import image_cloud

from minicloud.image import protections

RULES = """
[^x_owner_.*]
create = admin,member
read = admin,member
update = admin
delete = admin

[^x_hidden_.*]
create = @
read = admin
update = @
delete = !

[.*]
create = @
read = @
update = @
delete = @
"""


def test_protected_properties(tmp_path: Path) -> None:
    file = tmp_path / "protections.conf"
    file.write_text(RULES)
    with image_cloud(tmp_path, protections=protections.load(str(file))) as cloud:
        image = cloud.create(
            x_owner_a="1", x_hidden_b="2", free="3", visibility="community"
        )  # fmt: skip
        assert "x_hidden_b" not in image
        assert cloud.show(image["id"], "admin")["x_hidden_b"] == "2"
        assert "x_owner_a" not in cloud.show(image["id"], "service")

        def patch(op: str, name: str, token: str = "demo") -> int:
            change = {"op": op, "path": f"/{name}", "value": "new"}
            status: int = cloud.patch(image["id"], [change], token).status_code
            return status

        assert patch("replace", "free") == 200
        assert patch("replace", "x_owner_a") == 403
        assert patch("replace", "x_owner_a", "admin") == 200
        assert patch("remove", "x_owner_a") == 403
        assert patch("add", "x_owner_c") == 200
        assert patch("replace", "x_hidden_b") == 200  # it may be written, but not read
        assert patch("remove", "x_hidden_b", "admin") == 403
        assert patch("remove", "x_owner_a", "admin") == 200
        after = cloud.show(image["id"], "admin")
        assert (after["x_hidden_b"], after["free"], after["x_owner_c"]) == ("new", "new", "new")
        refused = cloud.call("POST", "/v2/images", "service", json={"x_owner_z": "1"})
        assert refused.status_code == 403
        (mine,) = cloud.call("GET", "/v2/images?x_owner_c=new").json()["images"]
        assert "x_hidden_b" not in mine
        # A list would tell by what it finds.
        assert cloud.call("GET", "/v2/images?x_hidden_b=new").status_code == 403
        assert len(cloud.call("GET", "/v2/images?x_hidden_b=new", "admin").json()["images"]) == 1


def test_what_no_pattern_names_is_for_nobody(tmp_path: Path) -> None:
    file = tmp_path / "protections.conf"
    file.write_text("[^known$]\ncreate=@\nread=@\nupdate=@\ndelete=@\n")
    with image_cloud(tmp_path, protections=protections.load(str(file))) as cloud:
        cloud.create(known="1")
        assert cloud.call("POST", "/v2/images", "admin", json={"other": "1"}).status_code == 403


@pytest.mark.parametrize(
    "text", ["[(]\ncreate=@\nread=@\nupdate=@\ndelete=@\n", "[a]\ncreate=@\n", "create=@"]
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    file = tmp_path / "protections.conf"
    file.write_text(text)
    with pytest.raises(ValueError, match="cannot be used"):
        protections.load(str(file))
    with pytest.raises(ValueError, match="cannot be used"):
        protections.load(str(tmp_path / "missing"))
