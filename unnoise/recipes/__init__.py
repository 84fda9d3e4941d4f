"""Recipes: one TOML file a system; its first line says what it is and what was measured."""
