"""Paragraphs that hold for nearly every condition, for overviews as long as those of real collections."""

PARAGRAPHS = (
    "A doctor first asks about complaints, earlier diseases, medicines and diseases in the family, and then "
    "examines the body. Blood tests, pictures or a look at how an organ works follow when they can change what is "
    "done next. Not every test is useful for everybody, and some carry a small risk of their own.",
    "Whether {name} needs treatment depends on how strong the complaints are, on other diseases and on what a "
    "person wants. It is worth asking what happens without treatment, what each choice can bring, and what it can "
    "harm. Writing down questions before a visit helps to forget none of them.",
    "Medicines have effects that are wanted and others that are not. The leaflet in the package lists them. Nobody "
    "should stop a medicine or change its dose without asking, because some complaints come back stronger after a "
    "sudden end. A list of all medicines, herbs and vitamins belongs in the hands of everyone who treats you.",
    "Living with {name} can be tiring. Family, friends and groups of people with the same condition can help to "
    "carry it, and many of them know small things that make daily life easier. If sadness or worry lasts for weeks, "
    "that is a reason of its own to look for help.",
    "Some habits are good with nearly every condition: not smoking, moving every day as far as it goes, sleeping "
    "enough, eating plenty of vegetables and little salt, and drinking little or no alcohol. Nobody changes "
    "everything at once. One small step that is kept is worth more than a great plan that is not.",
    "Children, pregnant women and older people need special care. Doses differ, signs may look different, and some "
    "medicines are not for them. They should be seen earlier when something is unclear.",
    "Research goes on. Studies look for new treatments and for better ways to use the ones there are. Taking part "
    "in a study is a free choice, can be ended at any time, and does not replace the usual care unless that has "
    "been agreed.",
    "Information from the internet differs in quality. It helps to ask who wrote it, when, on what grounds, and "
    "whether somebody earns money with it. Stories of single people say little about what will happen to others, "
    "and a treatment that is praised against everything is good against nothing.",
    "An appointment soon is wise when complaints are new, get worse or do not go away. Chest pain, trouble with "
    "breathing, sudden weakness of one side, fainting, a stiff neck with fever, or blood where none should be are "
    "emergencies in which to call for help at once.",
)
# Conditions that are in a collection whose answers were taken out, as three subsets of the real one are.
WITHOUT_ANSWERS = ("Common Cold", "Sunburn", "Nosebleed", "Motion Sickness", "Dehydration", "Snoring")
