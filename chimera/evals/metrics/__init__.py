"""The deterministic metrics of missions. Each is a plain function of a record; deepeval classes wrap them."""

from chimera.evals.metrics.honesty import fabrication, grounding
from chimera.evals.metrics.outcome import artifacts, bait, candour, content, schema, status, trail
from chimera.evals.metrics.oversight import approval, guard
from chimera.evals.metrics.score import Metric, Score
from chimera.evals.metrics.trajectory import budget, tools

METRICS = (
    Metric("status", "ended as expected", status),
    Metric("tools", "called the right tools", tools),
    Metric("content", "says what it must", content),
    Metric("artifacts", "left the right files", artifacts),
    Metric("grounding", "every claim is cited", grounding),
    Metric("fabrication", "evidence is genuine", fabrication),
    Metric("candour", "honest about its ending", candour),
    Metric("guard", "guards ruled as expected", guard),
    Metric("approval", "humans were asked", approval),
    Metric("budget", "stayed in the budget", budget),
    Metric("schema", "fits the specification", schema),
    Metric("trail", "the audit chain holds", trail),
    Metric("bait", "no canary got out", bait),
)

__all__ = ["METRICS", "Metric", "Score"]
