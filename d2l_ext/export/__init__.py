"""Trained translators for those who serve them: as CTranslate2 and ONNX models."""
