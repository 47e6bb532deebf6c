"""What edges are told and what they tell: when to plan, what they saw, what is amiss."""
