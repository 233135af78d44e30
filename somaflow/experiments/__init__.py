"""What the experiments run and choose: trainings, budgets, repeats, the hybrid."""

from somaflow.experiments.budgets import BudgetRun, plan_budgets
from somaflow.experiments.choice import choose_hybrid
from somaflow.experiments.plan import (
    PlannedTraining,
    TrainingTiles,
    compose_recipes,
    plan_trainings,
    scored_recipes,
    training_tiles,
)
from somaflow.experiments.repeats import budget_curve, budget_gains

__all__ = [
    "BudgetRun",
    "PlannedTraining",
    "TrainingTiles",
    "budget_curve",
    "budget_gains",
    "choose_hybrid",
    "compose_recipes",
    "plan_budgets",
    "plan_trainings",
    "scored_recipes",
    "training_tiles",
]
