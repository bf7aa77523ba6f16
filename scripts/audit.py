"""Known vulnerabilities of what is installed: `python scripts/audit.py`, or `make audit`.

pip-audit calls a package that the advisory database does not know "skipped", and a run of which every package
was skipped ends in "No known vulnerabilities found". Package mirrors often forward no advisories. So each
database is first asked about a release that is known to be vulnerable, and only one that knows it counts.
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

# of one package: name, version, vulns, and skip_reason if it was not checked
Entry = dict[str, Any]


def ask(database: str, arguments: Sequence[str]) -> list[Entry] | None:
    """Return what pip-audit finds in a database; None if it gets no answer."""
    command = [sys.executable, "-m", "pip_audit", "--service", database, "--format", "json", *arguments]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        found: list[Entry] = json.loads(ran.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return found


def ask_about(database: str, *releases: str) -> list[Entry]:
    """Return what pip-audit finds for releases that need not be installed."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(releases))
        return ask(database, ["--requirement", str(listed), "--no-deps", "--disable-pip"]) or []


def check_installed(database: str) -> list[Entry] | None:
    """Return what pip-audit finds for everything installed but lookonce itself; None without an answer."""
    found = ask(database, ["--skip-editable"])
    if found is None:
        return None
    entries = {entry["name"]: entry for entry in found if entry["name"] != "lookonce"}
    for name in [name for name, entry in entries.items() if "skip_reason" in entry]:
        release, _, build = version(name).partition("+")  # as in torch's 2.9.0+cpu, which is in no database
        if build:
            entries |= {entry["name"]: entry for entry in ask_about(database, f"{name}=={release}")}
    return list(entries.values())


def report(found: Sequence[Entry]) -> tuple[list[str], int]:
    """Return lines to print, and the exit code: 1 for a vulnerability, 2 if a package was not checked."""
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
    """Ask the first database that answers."""
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
