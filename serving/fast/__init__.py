from serving.fast.compiler import compile_fast

__all__ = ["compile_fast"]
