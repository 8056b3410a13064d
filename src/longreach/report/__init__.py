"""Drawing a diagnosis: one renderer a file, `render(diagnosis) -> str`. No torch: a file is enough to draw from."""
