"""Networks and model files; without torch, importing this package names the extra to install."""

from lookonce._optional import require

require("torch", extra="train")
