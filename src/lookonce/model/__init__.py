"""The networks, readable top-down, and their files; without torch, the import error names what to install."""

from lookonce._optional import require

require("torch", extra="train")
