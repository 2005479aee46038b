"""The French words of the handbook: see `words_en`."""

PLACES = """
la salle de lecture|la salle pour travailler au calme
l'abri à bicyclettes|le garage des vélos
le four à céramique|le four pour l'argile
la chambre noire|le laboratoire où l'on développe les photos
le jardin du toit|le potager en terrasse
le studio d'enregistrement|la cabine de prise de son
la bibliothèque musicale|la collection de partitions
l'atelier du bois|la menuiserie
la réserve de graines|le dépôt de semences
la coupole d'observation|le télescope
la paillasse de chimie|la table des expériences
le guichet des colis|le comptoir des paquets
la buanderie|le lavoir
le logement d'hôtes|l'hébergement des visiteurs
le mur d'escalade|la salle où l'on grimpe
le café des langues|la soirée de conversation
le coin réparation|la table où l'on répare les objets cassés
la crypte des archives|la cave des vieux registres
la presse à imprimer|l'imprimerie
la garderie|l'accueil des enfants
le parc de voitures|le covoiturage
le sauna|le bain de vapeur
l'atelier de couture|la pièce des couturières
la cantine|le réfectoire
la salle des cartes|la collection d'atlas
le rucher|le jardin des abeilles
l'embarcadère|le ponton
la salle de projection|le cinéma
la pépinière d'aromates|la serre des herbes
le poste de secours|l'infirmière
"""
FACTS = {
    "closing": (
        "Les jours ouvrés, {} ferme ses portes à {value}, et une cloche sonne dix minutes avant.",
        (
            "À quelle heure ferme {} en semaine ?",
            "Jusqu'à quand peut-on rester du lundi au vendredi à l'endroit suivant : {} ?",
            "Quelle est l'heure de fermeture pour {} les jours ouvrés ?",
        ),
    ),
    "price": (
        "Pour {}, les adhérents paient {value} euros par mois ; les étudiants en paient la moitié.",
        (
            "Combien coûte {} pour les adhérents ?",
            "Quel est le tarif mensuel pour {} ?",
            "Combien d'euros paient les adhérents pour {} ?",
        ),
    ),
    "keeper": (
        "{value} s'occupe de tout ce qui touche {} et garde le double de la clé au bureau.",
        (
            "Qui est responsable de ce lieu : {} ?",
            "Qui s'occupe de ce qui touche {} ?",
            "Chez qui trouver le double de la clé pour {} ?",
        ),
    ),
    "capacity": (
        "Pas plus de {value} personnes à la fois ne peuvent utiliser {}.",
        (
            "Combien de personnes peuvent utiliser {} à la fois ?",
            "Quel est le plus grand groupe accepté pour {} ?",
            "À combien peut-on utiliser {} ensemble ?",
        ),
    ),
    "request": (
        "Les demandes pour {} se déposent avant le jour {value} du mois précédent.",
        (
            "Avant quel jour déposer les demandes pour {} ?",
            "Quelle est la date limite d'inscription pour {} ?",
            "Quand dois-je déposer ma demande pour {} ?",
        ),
    ),
    "damage": (
        "Les dégâts constatés pour {} se notent sur la fiche {value}, accrochée à l'entrée.",
        (
            "Sur quelle fiche noter les dégâts pour {} ?",
            "Un objet s'est cassé, quel formulaire remplir pour {} ?",
            "Comment signaler un dégât concernant {} ?",
        ),
    ),
}
FILLERS = (
    "Les personnes qui viennent de visiter {} changent de chaussures dans le couloir.",
    "Les règles ont été revues lors des travaux concernant {}, et chaque adhérent peut en lire le compte rendu.",
    "Une affiche donne le numéro du gardien à l'entrée, comme pour {}.",
    "Qui a déjà payé pour {} reçoit un reçu valable ici aussi.",
    "Les clés ne se prêtent jamais à un tiers, et une clé perdue coûte à l'adhérent une serrure neuve.",
    "Les horaires d'ouverture peuvent être réduits pendant les vacances, et le bureau l'annonce une semaine avant.",
    "Les groupes annoncent leur visite au bureau, pour que trop de personnes ne viennent pas le même jour.",
    "Le bureau répond le matin, et une boîte aux lettres reçoit les demandes à toute heure.",
    "La dernière personne qui part éteint les lumières et le chauffage.",
    "L'association possède le bâtiment depuis quarante ans et le répare avec l'aide de ses adhérents.",
    "Les enfants sont les bienvenus quand un adulte reste avec eux tout le temps.",
    "Ce qui se casse est mis de côté avec une étiquette, pour que personne ne se blesse.",
    "Les outils retournent à leur place, et ce qui traîne est porté aux objets trouvés.",
    "La nourriture reste dehors, sauf l'eau en bouteille fermée.",
    "Une première présentation dure environ une demi-heure et se répète une fois par an.",
    "Les adhérents qui aident une journée entière peuvent amener un ami une autre fois.",
    "Le sol est balayé chaque soir et lavé le dernier jour de la semaine.",
    "Les photographies sont permises tant que personne n'y est reconnaissable.",
    "Les jours de marché la rue est bruyante, et {} reste ouvert plus longtemps que d'habitude.",
    "Les tarifs pour {} ont augmenté l'an dernier, après un vote des adhérents.",
    "La personne qui s'occupe de ce qui touche {} est élue au printemps, deux fois au plus.",
    "Quand beaucoup de personnes veulent utiliser {}, une liste à la porte dit à qui c'est le tour.",
    "Les demandes arrivées trop tard pour {} sont gardées pour le mois suivant.",
    "Les dégâts constatés pour {} ont été payés par l'assurance, qui demande depuis plus de soin.",
    "Un plan au mur montre le chemin le plus court vers ceci : {}, et vers la sortie de secours.",
    "La serrure a été changée à l'automne pour {}, et les anciennes clés ne vont plus.",
    "L'argent que rapporte {} sert à acheter des livres et des outils.",
    "Deux adhérents apprennent chaque année comment entretenir et nettoyer {}.",
    "La nuit, l'alarme est branchée, et la police vient au premier bruit.",
    "Une armoire près de l'escalier contient des couvertures, des lampes et une boîte de pansements.",
    "La pluie entre par la fenêtre du nord, qui reste donc fermée de l'automne au printemps.",
    "Les visiteurs signent le registre à l'entrée et laissent leurs gros sacs dans un casier.",
    "L'assemblée annuelle décide des changements de ces règles à la majorité simple.",
    "La musique est permise tant que les voisins n'en sont pas gênés.",
    "L'ascenseur sert aux charges lourdes et aux personnes qui ne peuvent pas prendre l'escalier.",
    "Les chiens attendent dans la cour, où il y a de l'eau et de l'ombre.",
)
PEOPLE = (
    "Maëlle Aubertin|Thomas Okafor|Inès Carvalho|Jonas Vautrin|Priya Nandi|Oscar Belloc|Léna Fabre|Hugo Marchal|"
    "Adèle Noguès"
)
TITLE = "Règlement : {}"
INTRODUCTIONS = (
    "Voici ce que l'association a décidé pour {}, que certains appellent {other}.",
    "Cette page concerne {}, autrement dit {other}, et s'applique à tous les adhérents.",
)
PLAIN_INTRODUCTION = "Voici ce que l'association a décidé pour {}."
UNKNOWN_PLACES = "la piscine|la chapelle|le stand de tir|l'héliport|le bowling|l'aquarium"
UNKNOWN_FACTS = (
    "Quel architecte a dessiné les plans pour {} ?",
    "De quelle couleur sont les rideaux pour {} ?",
    "Quelle compagnie d'assurance couvre {} contre les inondations ?",
    "Combien de mètres carrés mesure {} ?",
)
OFF_TOPIC = (
    "Qui a gagné la coupe du monde de football en 1998 ?",
    "Quelle est la température d'ébullition de l'éthanol ?",
    "Comment renouveler mon passeport à l'ambassade ?",
    "Quel fleuve traverse Prague ?",
    "Qui a peint le plafond de la chapelle Sixtine ?",
    "Combien de temps dure un vol direct de Lisbonne à Boston ?",
    "Quels sont les symptômes d'une carence en vitamines ?",
    "Comment préparer un levain pour le pain ?",
)
