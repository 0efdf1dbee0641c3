"""Requests that a service's own OpenAPI document allows, and some that it does not: whatever comes
must be answered, soon and never with a server error.

A service's owner adds ``known`` values (ids of objects that exist), so that requests get past the
look-up, and raises ``examples`` on the command line to search longer:

    MINICLOUD_FUZZ_EXAMPLES=200 pytest tests/cloud/test_fuzz.py -k compute
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

_EXAMPLES = int(os.environ.get("MINICLOUD_FUZZ_EXAMPLES", "6"))
_HANG_S = 60
_MEANT = (501, 503)
"""Server errors that an API answers on purpose: what it does not do, and what is not there now."""


def fuzz(
    url: str,
    *,
    headers: Mapping[str, str],
    known: Mapping[str, Sequence[str]] = {},
    versions: Sequence[str] = (),
    queries: Sequence[str] = (),
    skip: Sequence[str] = (),
    examples: int = _EXAMPLES,
    seconds: float = 120,
) -> int:
    """Ask the service at ``url``, and return how many requests were answered.

    ``known``: name of a path's parameter or of a body's key -> values that mean something;
    ``versions``: of the header ``OpenStack-API-Version``; ``queries``: parameters to try where the
    document names none; ``skip``: paths. Each method of a path gets ``examples`` requests as the
    document describes them and as many that break it, one once ``seconds`` are over. Raises
    AssertionError with all that failed, each as a command for curl.
    """
    document = requests.get(f"{url}/openapi.json", timeout=_HANG_S).json()
    schema = schemathesis.openapi.from_dict(document)
    run = _Run(url, headers, known, versions, queries, time.monotonic() + seconds)
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path not in skip:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                run.search(operation, mode, examples)
    assert not run.failures, "\n\n".join(run.failures)
    return run.answered


class _Run:
    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        known: Mapping[str, Sequence[str]],
        versions: Sequence[str],
        queries: Sequence[str],
        end: float,
    ) -> None:
        self._url, self._headers, self._known = url, dict(headers), known
        self._versions, self._queries, self._end = versions, queries, end
        self._session = requests.Session()
        self.answered = 0
        self.failures: list[str] = []

    def search(self, operation: Any, mode: GenerationMode, examples: int) -> None:
        if time.monotonic() > self._end:
            examples = 1

        @hypothesis.settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(st.data())
        def ask(data: st.DataObject) -> None:
            self._ask(self._draw(data, operation, mode))

        try:
            ask()
        except schemathesis.errors.SchemathesisError:
            pass  # nothing to break: the operation takes no input
        except hypothesis.errors.Unsatisfiable:
            pass
        except hypothesis.errors.FlakyStrategyDefinition:
            if time.monotonic() <= self._end:  # else it drew nothing because the time was over
                raise
        except AssertionError as problem:
            self.failures.append(str(problem))

    def _draw(self, data: st.DataObject, operation: Any, mode: GenerationMode) -> Case:
        case = data.draw(operation.as_strategy(mode))
        for name in case.path_parameters or {}:
            if name in self._known and data.draw(st.integers(0, 4)):
                case.path_parameters[name] = data.draw(st.sampled_from(self._known[name]))
        case.body = self._meant(data, case.body)
        if self._queries and case.method == "GET" and data.draw(st.booleans()):
            name = data.draw(st.sampled_from(self._queries))
            value = data.draw(st.one_of(st.text(max_size=20), st.integers().map(str)))
            case.query = {**(case.query or {}), name: value}
        case.headers = {**self._headers}
        if self._versions and data.draw(st.integers(0, 9)):
            case.headers["OpenStack-API-Version"] = data.draw(st.sampled_from(self._versions))
        return case

    def _meant(self, data: st.DataObject, value: Any) -> Any:
        """``value`` with known ones put in where their key stands."""
        if isinstance(value, dict):
            return {
                key: data.draw(st.sampled_from(self._known[key]))
                if key in self._known and isinstance(part, str) and data.draw(st.booleans())
                else self._meant(data, part)
                for key, part in value.items()
            }
        if isinstance(value, list):
            return [self._meant(data, part) for part in value]
        return value

    def _ask(self, case: Case) -> None:
        try:
            answer = case.call(base_url=self._url, session=self._session, timeout=_HANG_S)
        except requests.Timeout:
            raise AssertionError(f"No answer in {_HANG_S} s: {_shown(case)}") from None
        except requests.ConnectionError as problem:
            raise AssertionError(f"The connection broke ({problem}): {_shown(case)}") from None
        except (requests.RequestException, ValueError):
            return  # no HTTP client would send that
        self.answered += 1
        code = answer.status_code
        assert code < 500 or code in _MEANT, f"{code} {answer.text[:300]}\n  {_shown(case)}"


def _shown(case: Case) -> str:
    try:
        return case.as_curl_command()
    except (ValueError, TypeError):
        return f"{case.method} {case.formatted_path} {case.query} {case.body!r}"
