"""``python -m minicloud.deploy up|down|lab-...``: what the scripts in tools call."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from minicloud.deploy import join
from minicloud.deploy.down import down
from minicloud.deploy.image import AUTO
from minicloud.deploy.lab import MOST, Lab
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed, describe
from minicloud.deploy.up import Wishes, up


def main() -> int:
    parser = argparse.ArgumentParser(prog="minicloud.deploy", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up_options = verbs.add_parser("up", help="set this machine up as a cloud")
    up_options.add_argument("--checkout", type=Path, required=True, help="the tree of the code")
    up_options.add_argument("--host", default="", help="address that clients reach the cloud at")
    up_options.add_argument("--image", default=AUTO, help="auto, built, cirros or a URL")
    up_options.add_argument("--no-launch", action="store_true", help="without a first server")
    down_options = verbs.add_parser("down", help="stop the cloud")
    down_options.add_argument("--purge", action="store_true", help="and remove every trace of it")
    lab_up = verbs.add_parser("lab-up", help="lab hosts on this machine")
    lab_up.add_argument("count", type=int, choices=range(1, MOST + 1), metavar="N")
    verbs.add_parser("lab-down", help="end them and remove every trace")
    lab_sh = verbs.add_parser("lab-sh", help="run a command on a lab host")
    lab_sh.add_argument("host")
    lab_sh.add_argument("command", nargs=argparse.REMAINDER)
    invite = verbs.add_parser("invite", help="let another machine join as a compute host")
    invite.add_argument("host", help="the name it shall have")
    way = invite.add_mutually_exclusive_group(required=True)
    way.add_argument("--ssh", default="", metavar="TARGET", help="make it join, by ssh")
    way.add_argument("--script", type=Path, metavar="FILE", help="write what it has to run")
    dismiss = verbs.add_parser("dismiss", help="shut such a host out again")
    dismiss.add_argument("host")
    accept = verbs.add_parser("accept", help="join, on the other machine")
    accept.add_argument("--checkout", type=Path, required=True, help="the tree of the code")
    accept.add_argument("invitation", type=Path)
    arguments = parser.parse_args()
    os.umask(0o022)
    checkout = Path(__file__).resolve().parents[2]
    try:
        if arguments.verb == "lab-up":
            done = Lab(Places(), checkout).up(arguments.count)
        elif arguments.verb == "lab-down":
            done = Lab(Places(), checkout).down()
        elif arguments.verb == "lab-sh":
            Lab(Places(), checkout).enter(arguments.host, arguments.command)
            done = True
        elif arguments.verb == "invite":
            name, file = arguments.host, arguments.script
            join.invite(Places(), checkout, name, ssh=arguments.ssh, file=file)
            done = True
        elif arguments.verb == "dismiss":
            join.dismiss(Places(), arguments.host)
            done = True
        elif arguments.verb == "accept":
            text = arguments.invitation.read_bytes()
            invitation = msgspec.json.decode(text, type=join.Invitation)
            done = join.accept(Places(), arguments.checkout, invitation)
        elif arguments.verb == "down":
            done = down(Places(), checkout, purge=arguments.purge)
        else:
            wishes = Wishes(
                checkout=arguments.checkout,
                host=arguments.host,
                database_url=os.environ.get("MINICLOUD_DATABASE_URL", ""),
                image=arguments.image,
                launch=not arguments.no_launch,
            )
            done = up(Places(), wishes)
    except StageFailed as failure:
        sys.stderr.write(f"\n{describe(failure)}")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\n  Interrupted. The same command goes on where it stopped.\n")
        return 130
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
