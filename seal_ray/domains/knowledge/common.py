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

SENTENCES = (
    "The children ran home as soon as it began to rain.",
    "She put the letter back into the drawer and locked it.",
    "Water is made of hydrogen and oxygen.",
    "If you want to bake bread, you need flour, water, salt and yeast.",
    "The meeting was moved to Thursday because two people were ill.",
    "Most birds build their nests in spring.",
    "He could not remember where he had left his keys.",
    "A triangle has three sides, and its angles add up to 180 degrees.",
    "The train was late, so we had a cup of coffee at the station.",
    "Light travels faster than sound.",
    "They painted the kitchen yellow last summer.",
    "To save the file, open the menu and choose the second entry.",
)
"""Plain sentences, by which it is told what learning costs a model's language."""
