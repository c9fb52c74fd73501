"""The fluxforge command: one module per verb."""
