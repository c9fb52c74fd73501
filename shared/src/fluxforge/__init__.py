"""FluxForge's shared contracts: what two services need, and nothing else."""

__version__ = "0.1.0"
