"""Networks in forms that run without this package: plain modules, and ONNX files of them."""
