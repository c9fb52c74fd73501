"""The exchange simulator: one loopback server that unmodified exchange clients take for the venues."""

from fluxforge_simulator.connection_fault import ConnectionFault, Fault
from fluxforge_simulator.errors import OptionError
from fluxforge_simulator.options import Faults, LoadPlan, MalformedFrame, Pace, SimulateOptions
from fluxforge_simulator.run import simulate
from fluxforge_simulator.simulator import Simulator

__all__ = [
    "ConnectionFault",
    "Fault",
    "Faults",
    "LoadPlan",
    "MalformedFrame",
    "OptionError",
    "Pace",
    "SimulateOptions",
    "Simulator",
    "simulate",
]
