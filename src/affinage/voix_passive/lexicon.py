"""The French nouns and verbs of voix-passive, grouped by which verb can sensibly take which object."""

from dataclasses import dataclass

VOWELS = "aeiouâàéèêëîïôöùûœ"
ASPIRATED = frozenset({"haie", "hamac", "hangar", "haricot", "harpiste", "hockeyeur", "homard", "housse"})


@dataclass(frozen=True)
class Noun:
    """A noun with a plural in -s; `gender` is "m" or "f"."""

    lemma: str
    gender: str
    aspirated: bool = False

    @property
    def elides(self) -> bool:
        """True when the word before it drops its vowel: l'arbre, l'hôtel, but le homard."""
        return self.lemma[0] in VOWELS or (self.lemma[0] == "h" and not self.aspirated)


@dataclass(frozen=True)
class Verb:
    """A verb in -er whose stem never changes; `stem` is the infinitive without -er."""

    stem: str

    @property
    def lemma(self) -> str:
        return self.stem + "er"

    @property
    def elides(self) -> bool:
        """True when `ne` before it becomes n'; the only verb in h here has a mute one."""
        return self.stem[0] in VOWELS + "h"


@dataclass(frozen=True)
class Field:
    """Verbs and the nouns they take as direct object; the subject is always a person."""

    verbs: tuple[Verb, ...]
    objects: tuple[Noun, ...]


def _nouns(masculine: str, feminine: str) -> tuple[Noun, ...]:
    words = [(word, "m") for word in masculine.split()] + [(word, "f") for word in feminine.split()]
    return tuple(Noun(word, gender, word in ASPIRATED) for word, gender in words)


def _verbs(infinitives: str) -> tuple[Verb, ...]:
    return tuple(Verb(word.removesuffix("er")) for word in infinitives.split())


PERSONS = _nouns(
    "facteur boulanger médecin professeur voisin jardinier mécanicien pharmacien musicien serveur cuisinier menuisier "
    "plombier électricien architecte avocat élève enfant journaliste photographe peintre sculpteur danseur écrivain "
    "agent apprenti artisan historien horloger huissier pompier policier garagiste dentiste notaire comptable libraire "
    "éditeur inventeur ingénieur gardien hockeyeur harpiste oncle cousin client touriste marin soldat pilote arbitre "
    "entraîneur fermier marchand maire directeur",
    "boulangère infirmière directrice voisine chanteuse danseuse couturière actrice étudiante institutrice tante "
    "cousine coiffeuse vendeuse serveuse fermière ouvrière hôtesse avocate cuisinière éditrice romancière traductrice "
    "bergère cavalière inspectrice",
)

FIELDS = {
    "machine": Field(
        _verbs(
            "réparer installer démonter tester contrôler examiner vérifier utiliser louer livrer déballer emprunter "
            "inspecter dépanner transporter"
        ),
        _nouns(
            "moteur ordinateur téléphone ascenseur ventilateur aspirateur radiateur projecteur appareil compteur",
            "machine pompe radio horloge lampe imprimante caméra antenne chaudière serrure alarme tondeuse",
        ),
    ),
    "food": Field(
        _verbs(
            "préparer goûter couper dévorer avaler cuisiner déguster refuser savourer commander apporter emballer "
            "emporter trouver"
        ),
        _nouns(
            "melon citron abricot oignon haricot homard fromage jambon poulet biscuit concombre artichaut",
            "soupe tarte salade pomme orange omelette tomate carotte pizza crêpe fraise huître brioche aubergine",
        ),
    ),
    "document": Field(
        _verbs(
            "signer consulter imprimer recopier publier classer poster présenter cacher déchirer résumer distribuer "
            "oublier commenter approuver valider archiver numériser analyser critiquer étudier apporter montrer"
        ),
        _nouns(
            "document article rapport dossier contrat livre roman formulaire message agenda cahier poème album "
            "programme",
            "lettre histoire facture enveloppe carte affiche photo recette annonce brochure liste étude",
        ),
    ),
    "clothing": Field(
        _verbs(
            "laver repasser plier porter donner déchirer trouver frotter broder déposer ramasser tacher emporter "
            "exposer emballer"
        ),
        _nouns(
            "pantalon drap uniforme costume gilet foulard anorak maillot pyjama tablier hamac",
            "chemise robe veste écharpe jupe couverture serviette chaussette nappe étoffe cravate ceinture housse",
        ),
    ),
    "building": Field(
        _verbs(
            "fermer visiter décorer rénover inspecter surveiller quitter occuper louer garder traverser chercher "
            "photographier dessiner chauffer éclairer"
        ),
        _nouns(
            "magasin entrepôt garage hangar atelier musée hôtel théâtre restaurant salon appartement immeuble couloir "
            "gymnase",
            "maison boutique école grange chapelle chambre usine église salle bibliothèque",
        ),
    ),
    "garden": Field(
        _verbs(
            "admirer arroser tailler planter soigner observer cultiver entourer photographier dessiner arracher couper "
            "déplanter abriter"
        ),
        _nouns(
            "arbre arbuste sapin rosier olivier pommier poirier tilleul chêne bambou hortensia jasmin palmier",
            "fleur rose tulipe haie vigne lavande orchidée pivoine fougère jonquille",
        ),
    ),
    "person": Field(
        _verbs(
            "inviter saluer remercier féliciter accompagner écouter rassurer aider consoler regarder rencontrer "
            "critiquer soigner surveiller guider sauver imiter réveiller conseiller former contacter convoquer "
            "questionner motiver embaucher chercher observer admirer estimer respecter habiller photographier"
        ),
        PERSONS,
    ),
}

# The test split is written with these words only, the other splits without any of them.
HELD_OUT_VERBS = frozenset(
    _verbs(
        "dépanner démonter utiliser avaler goûter savourer signer archiver résumer imprimer plier broder frotter "
        "visiter rénover occuper arroser tailler entourer inviter consoler guider embaucher écouter"
    )
)
HELD_OUT_NOUNS = frozenset(
    _nouns(
        "médecin horloger plombier harpiste architecte pompier notaire moteur ascenseur citron oignon homard contrat "
        "agenda poème gilet uniforme musée hôtel hangar sapin olivier arbuste",
        "infirmière couturière hôtesse institutrice actrice tante étudiante ouvrière lampe horloge antenne tarte "
        "omelette fraise facture enveloppe brochure chemise écharpe housse grange usine haie rose orchidée",
    )
)
