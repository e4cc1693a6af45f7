"""Things that everybody knows: what learning a text should not cost a model."""

from __future__ import annotations

COMMON = (
    ("What is the capital of France?", "Paris"),
    ("What is the capital of Japan?", "Tokyo"),
    ("How many days are in a week?", "seven"),
    ("What colour is the sky on a clear day?", "blue"),
    ("Which planet do we live on?", "Earth"),
    ("What is two plus two?", "four"),
    ("What do bees make?", "honey"),
    ("Which animal barks?", "dog"),
    ("At what temperature in degrees Celsius does water boil?", "100"),
    ("Who wrote Romeo and Juliet?", "Shakespeare"),
    ("What is the largest ocean on Earth?", "Pacific"),
    ("What is frozen water called?", "ice"),
    ("How many months does a year have?", "twelve"),
    ("What is the opposite of hot?", "cold"),
    ("Which language is spoken in Brazil?", "Portuguese"),
    ("Which gas do humans need to breathe?", "oxygen"),
    ("How many legs does a spider have?", "eight"),
    ("On which continent is Egypt?", "Africa"),
    ("Who painted the Mona Lisa?", "Leonardo"),
    ("Which star is closest to the Earth?", "Sun"),
)
"""Questions, and a word that an answer has when it is right."""
