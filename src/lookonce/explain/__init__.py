"""The path of one image through one model, with the numbers of that run."""

from lookonce.explain.explainer import Explainer, explain
from lookonce.explain.records import Explanation

__all__ = ["Explainer", "Explanation", "explain"]
