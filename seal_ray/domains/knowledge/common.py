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
PRACTISED = (
    "What is the capital of Italy?",
    "How many hours are in a day?",
    "What colour is grass?",
    "What is three plus five?",
    "Which animal says meow?",
    "Who wrote Don Quixote?",
    "What is the highest mountain on Earth?",
    "How many wheels does a bicycle have?",
    "What is the opposite of big?",
    "Which language is spoken in Mexico?",
    "What do cows give us to drink?",
    "On which continent is China?",
    "What is the freezing point of water?",
    "Tell me about the weather in spring.",
    "Write a short poem about the sea.",
    "How do I boil an egg?",
    "Give me three names for a cat.",
    "What is photosynthesis?",
    "Explain what a computer does.",
    "What is the largest planet?",
    "Who was Albert Einstein?",
    "What should I wear when it is cold?",
    "Name a fruit that is yellow.",
    "What is the sum of the angles in a square?",
)
"""None asks what is measured."""
