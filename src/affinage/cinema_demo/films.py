"""Films that do not exist, and which split each of them belongs to."""

from random import Random

BEGINNINGS = (
    *("La Gare", "Le Phare", "Les Heures", "L'Horloge", "Un été", "La Maison", "Le Bal", "Les Chemins"),
    *("La Rivière", "Le Silence", "Les Jardins", "L'Escalier", "Une nuit", "La Lettre", "Le Marché", "Les Voisins"),
)
ENDINGS = (
    *("des brumes", "de Kervalan", "sans retour", "du bout du quai", "sous la neige", "des absents", "de la rue Basse"),
    *("au petit jour", "d'en face", "aux mille portes", "de Sainte-Orme", "en hiver", "des deux sœurs"),
)
SPLITS = {0: "train", 1: "validation", 2: "test"}
FILMS = {0: 40, 1: 8, 2: 12}  # films of each split


def films_by_split(rng: Random) -> dict[int, list[str]]:
    """The titles of each split; no film is in two."""
    titles = [f"{beginning} {ending}" for beginning in BEGINNINGS for ending in ENDINGS]
    drawn = iter(rng.sample(titles, sum(FILMS.values())))
    return {split: [next(drawn) for _ in range(n)] for split, n in FILMS.items()}
