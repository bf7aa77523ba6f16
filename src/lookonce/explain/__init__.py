"""Explain how a model processes an image, with every number of that run."""

from lookonce.explain.explainer import Explainer, explain
from lookonce.explain.records import Explanation

__all__ = ["Explainer", "Explanation", "explain"]
