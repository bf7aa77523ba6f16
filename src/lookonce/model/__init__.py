"""The networks, readable top-down, and their files; importing any without torch names what to install."""

from lookonce._optional import require

require("torch", extra="train")
