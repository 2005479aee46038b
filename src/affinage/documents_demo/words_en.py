"""The English words of the handbook: places with another name for each, what is said of them, and what is asked."""

PLACES = """
the reading room|the room for quiet study
the bicycle shed|the shelter for bikes
the pottery kiln|the oven for clay
the darkroom|the lab where photographs are developed
the rooftop garden|the vegetable plot on the roof
the recording studio|the sound booth
the music library|the collection of scores
the woodworking shop|the carpenters' workshop
the seed bank|the store of seeds
the observatory dome|the telescope
the chemistry bench|the table for experiments
the parcel counter|the desk for packages
the laundry|the wash house
the guest flat|the lodging for visitors
the climbing wall|the indoor climbing
the language café|the conversation evening
the repair corner|the place where broken things are mended
the archive vault|the cellar with the old records
the printing press|the letterpress
the crèche|the childcare
the car pool|the car sharing
the sauna|the steam bath
the sewing workshop|the tailors' room
the canteen|the dining hall
the map room|the atlas collection
the apiary|the bee garden
the boat landing|the jetty
the projection hall|the cinema
the herb nursery|the herb house
the first-aid post|the nurse
"""
# name: (what the handbook says, what may be asked), {} is a place, {value} what the questions are after.
FACTS = {
    "closing": (
        "On working days {} is locked at {value}, and a bell rings ten minutes before.",
        (
            "At what time does {} close during the week?",
            "Until when may one stay in {} from Monday to Friday?",
            "When is {} locked on working days?",
        ),
    ),
    "price": (
        "Members pay {value} euros a month for {}; students pay half of that.",
        (
            "What does {} cost members?",
            "How expensive is it to use {} for a month?",
            "How many euros do members pay for {}?",
        ),
    ),
    "keeper": (
        "{value} looks after {} and keeps the spare key in the office.",
        (
            "Who is in charge of {}?",
            "Who looks after {}?",
            "Which person has the spare key of {}?",
        ),
    ),
    "capacity": (
        "No more than {value} people may use {} at the same time.",
        (
            "How many people may use {} at once?",
            "What is the largest group that {} takes?",
            "How many persons at most are allowed at {} together?",
        ),
    ),
    "request": (
        "Requests for {} are handed in by day {value} of the month before.",
        (
            "By which day must requests for {} be handed in?",
            "What is the deadline to apply for {}?",
            "When do I have to hand in a request to use {} next month?",
        ),
    ),
    "damage": (
        "Damage at {} is reported on sheet {value}, which hangs beside the entrance.",
        (
            "On which sheet is damage at {} reported?",
            "Something broke at {}: which form do I fill in?",
            "How do I report that something is damaged at {}?",
        ),
    ),
}
FILLERS = (
    "People coming from {} are asked to change their shoes in the corridor.",
    "The rules were last discussed when {} was rebuilt, and the minutes can be read by every member.",
    "A notice with the telephone number of the caretaker hangs at the entrance, as it does at {}.",
    "Whoever has paid for {} already gets a receipt that is valid here too.",
    "Keys are never lent to third persons, and a lost key costs the member a new lock.",
    "Opening hours may be shortened in the holidays, and the office announces it a week before.",
    "Groups announce their visit in the office, so that not too many people come on the same day.",
    "The office can be reached in the morning, and a letter box takes requests at any time.",
    "Lights and heating are turned off by the last person who leaves.",
    "The association has owned the building for forty years and repairs it with the help of its members.",
    "Children are welcome when an adult member stays with them the whole time.",
    "Whatever breaks is set aside with a label, so that nobody is hurt by it.",
    "Tools go back to their place, and what is found lying about is brought to the lost property box.",
    "Food is kept out, except for water in closed bottles.",
    "A first introduction takes about half an hour and is repeated once a year.",
    "Members who help for a whole day may bring a friend on another occasion.",
    "The floor is swept every evening and washed on the last day of the week.",
    "Photographs may be taken as long as nobody is recognised in them.",
    "On market days the street is loud, and {} stays open longer than usual.",
    "Prices for {} were raised last year, after a vote of the members.",
    "The person who looks after {} is elected in spring and may be elected twice.",
    "When many people want to use {}, a list at the door says whose turn it is.",
    "Requests that came too late for {} are kept for the following month.",
    "Damage at {} was paid by the insurance, which has asked for more care since.",
    "A map on the wall shows the shortest way to {} and to the emergency exit.",
    "The lock of {} was changed in autumn, so that older keys no longer fit.",
    "The money that {} brings in is spent on new books and tools.",
    "Two members learn every year how {} is cleaned and kept in order.",
    "During the night the alarm is switched on, and the police come at the first sound.",
    "A cupboard beside the stairs holds blankets, lamps and a box of bandages.",
    "Rain gets in at the north window, so it is kept shut from autumn to spring.",
    "Visitors sign the book at the entrance and leave large bags in a locker.",
    "The annual meeting decides about changes to these rules by a simple majority.",
    "Music is allowed as long as the neighbours are not disturbed by it.",
    "The lift is meant for heavy loads and for people who cannot take the stairs.",
    "Dogs wait in the courtyard, where there is water and shade.",
)
PEOPLE = (
    "Mara Lindqvist|Tomas Okafor|Ines Carver|Jonas Whitlock|Priya Nand|Oskar Bell|Lena Fairbanks|Hugo Marsh|Ada Novak"
)
TITLE = "{}: house rules"
INTRODUCTIONS = (
    "Here you find what the association has agreed about {}, which some call {other}.",
    "This page is about {}, in other words {other}, and applies to all members.",
)
PLAIN_INTRODUCTION = "Here you find what the association has agreed about {}."
UNKNOWN_PLACES = "the swimming pool|the chapel|the shooting range|the helicopter pad|the bowling alley|the aquarium"
UNKNOWN_FACTS = (
    "Which architect drew the plans of {}?",
    "What colour are the curtains of {}?",
    "Which insurance company covers {} against flooding?",
    "How many square metres does {} measure?",
)
OFF_TOPIC = (
    "Who won the football world cup in 1998?",
    "What is the boiling point of ethanol?",
    "How do I renew my passport at the embassy?",
    "Which river flows through Prague?",
    "Who painted the ceiling of the Sistine Chapel?",
    "How long does a direct flight from Lisbon to Boston take?",
    "What are the symptoms of a vitamin deficiency?",
    "How do I make a sourdough starter?",
)
