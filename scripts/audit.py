"""Report known vulnerabilities of the installed packages: `python scripts/audit.py`, or `make audit`.

pip-audit skips packages that are missing from the advisory database, and prints "No known vulnerabilities
found" even if it has skipped all of them. Package mirrors often forward no advisories. Therefore each
database is first queried for a release that is known to be vulnerable, and is used only if it reports that
release.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

DATABASES = ("pypi", "osv")  # in this order
KNOWN = "jinja2==2.4.1"  # CVE-2014-1402 and others
PATIENCE = 600  # seconds

# entry of a package: name, version, vulns, and skip_reason if it was not checked
Entry = dict[str, Any]


def ask(database: str, arguments: Sequence[str]) -> list[Entry] | None:
    """Return the entries that pip-audit finds in a database; None if there is no answer."""
    command = [sys.executable, "-m", "pip_audit", "--service", database, "--format", "json", *arguments]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        found: list[Entry] = json.loads(ran.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return found


def ask_about(database: str, *releases: str) -> list[Entry]:
    """Return the entries of releases, which need not be installed; empty if there is no answer."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(releases))
        return ask(database, ["--requirement", str(listed), "--no-deps", "--disable-pip"]) or []


def check_installed(database: str) -> list[Entry] | None:
    """Return the entries of all installed packages except lookonce; None if there is no answer."""
    found = ask(database, ["--skip-editable"])
    if found is None:
        return None
    entries = {entry["name"]: entry for entry in found if entry["name"] != "lookonce"}
    for name in [name for name, entry in entries.items() if "skip_reason" in entry]:
        release, _, build = version(name).partition("+")  # databases lack builds, such as torch 2.9.0+cpu
        if build:
            entries |= {entry["name"]: entry for entry in ask_about(database, f"{name}=={release}")}
    return list(entries.values())


def report(found: Sequence[Entry]) -> tuple[list[str], int]:
    """Return the lines to print, and the exit code: 1 for a vulnerability, 2 for a package left unchecked."""
    lines = [
        f"{entry['name']} {entry['version']}: {each['id']}"
        + (f", fixed in {', '.join(each['fix_versions'])}" if each.get("fix_versions") else "")
        for entry in found
        for each in entry.get("vulns", ())
    ]
    unchecked = [entry["name"] for entry in found if entry.get("skip_reason")]
    code = 1 if lines else 2 if unchecked else 0
    if unchecked:
        lines.append(f"not checked: {', '.join(unchecked)}")
    lines.append(f"checked: {len(found) - len(unchecked)}")
    return lines, code


def main() -> int:
    """Print the report of the first working database; return the exit code, 2 if there is none."""
    for database in DATABASES:
        known = any(entry.get("vulns") for entry in ask_about(database, KNOWN))
        if known and (found := check_installed(database)) is not None:
            lines, code = report(found)
            print(*lines, sep="\n")
            return code
    print(
        f"could not ask: no advisory database ({', '.join(DATABASES)}) reports {KNOWN}, which is known to be "
        "vulnerable; nothing was checked",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
