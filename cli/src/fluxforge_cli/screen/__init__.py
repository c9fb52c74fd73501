"""What a person sees of a running system: a pure view of the statuses, and two ways to show it."""
