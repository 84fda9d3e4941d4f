"""What else can run a network: the function F(x, level, conditions) as a program of its own, without the Python that made it."""

from unnoise.engine.onnx import ENGINES, Session, attach, exported, session
from unnoise.engine.program import Call, arguments, program, write_onnx, write_program

__all__ = ["ENGINES", "Call", "Session", "arguments", "attach", "exported", "program", "session", "write_onnx", "write_program"]
