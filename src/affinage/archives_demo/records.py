"""What readers ask about the records themselves, in two wordings each, and what the archivist answers.

{nom}, {commune}, {annee} (a year of the 19th century), {ancien} (one of the 18th) and {recent} (one of the 20th) are
drawn for each mail; {plus10} is ten years after {annee}.
"""

EXCHANGES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "généalogie": (
        (
            "Je cherche les parents de mon arrière-grand-père, un {nom} marié à {commune} vers {annee}. Par où "
            "commencer ?",
            "Comment remonter la famille {nom} à partir d'un mariage célébré à {commune} aux environs de {annee} ?",
            "Commencez par l'acte de mariage : il donne le nom des parents des deux époux et leur lieu de "
            "naissance. Les tables décennales de {commune} pour la décennie de {annee} sont en ligne sur notre "
            "site, rubrique état civil. Avec la date exacte, vous trouverez l'acte dans le registre des mariages "
            "de la même année.",
        ),
        (
            "Mon aïeul {nom} aurait été soldat ; existe-t-il un document qui décrit son parcours militaire ?",
            "Où trouver le parcours militaire d'un {nom} né à {commune} en {annee} ?",
            "Le registre matricule donne son signalement, ses affectations et ses campagnes. Il est classé par "
            "bureau de recrutement et par classe, c'est-à-dire l'année de ses vingt ans. Cherchez d'abord son "
            "numéro dans la table alphabétique de la classe, puis demandez le registre en série R.",
        ),
        (
            "Les registres paroissiaux de {commune} ont-ils été conservés avant {ancien} ?",
            "Jusqu'où peut-on remonter avec les baptêmes de {commune} ? Je suis bloquée en {ancien}.",
            "Pour {commune}, la collection du greffe commence en 1701 et celle de la paroisse en 1668, avec une "
            "lacune de 1694 à 1697. Les deux séries sont numérisées ; si un acte manque dans l'une, regardez dans "
            "l'autre.",
        ),
        (
            "Mon ancêtre a été déposé à l'hospice en {annee} : reste-t-il un dossier d'enfant trouvé ?",
            "Comment retrouver la trace d'une enfant abandonnée à l'hospice du Valcreux vers {annee} ?",
            "Oui, la sous-série 3 X conserve le registre d'admission et, souvent, le procès-verbal d'abandon. Il "
            "faut le nom donné à l'enfant ou la date d'entrée. Après cent ans, ces dossiers se consultent "
            "librement.",
        ),
        (
            "Dans les recensements, comment savoir qui vivait dans la maison de la famille {nom} à {commune} ?",
            "Peut-on lire en ligne le recensement de {commune} autour de {annee} ?",
            "Les listes nominatives ont été dressées tous les cinq ans à partir de 1836. Celles de {commune} sont "
            "en ligne jusqu'en 1936 et se parcourent par rue, puis par maison et par ménage, avec l'âge et le "
            "métier de chacun.",
        ),
        (
            "Une de mes aïeules, née {nom}, a émigré vers {annee} ; quels papiers cherche-t-on dans ce cas ?",
            "Existe-t-il des listes de passeports pour les émigrants partis de {commune} vers {annee} ?",
            "Les demandes de passeport pour l'étranger sont en sous-série 4 M, classées par année puis par nom. "
            "Elles indiquent la destination et parfois le port. Pensez aussi aux journaux locaux, qui annonçaient "
            "les départs.",
        ),
        (
            "Que signifie la mention « jugement supplétif » que je lis à côté du nom {nom} ?",
            "Dans un registre de {commune}, je lis « acte reconstitué ». Qu'est-ce que cela veut dire ?",
            "L'acte d'origine a été perdu, et un tribunal ou une commission l'a remplacé sur la foi de témoins ou "
            "d'autres papiers. L'acte ainsi établi a la même valeur ; le dossier de preuve est parfois conservé "
            "en série U.",
        ),
    ),
    "état civil": (
        (
            "J'ai besoin d'une copie de l'acte de naissance de mon grand-père, né à {commune} en {recent}. "
            "Pouvez-vous me l'envoyer ?",
            "Comment obtenir un acte de naissance de {recent} pour la commune de {commune} ?",
            "Un acte de naissance se communique librement après soixante-quinze ans. Avant ce délai, seule la "
            "mairie de {commune} peut délivrer une copie, à la personne elle-même ou à sa famille directe.",
        ),
        (
            "Quel est le délai pour consulter un acte de décès de {recent} ?",
            "Mon oncle est mort à {commune} en {recent} : l'acte est-il déjà consultable ?",
            "Un acte de décès se consulte sans délai. Le plus rapide est d'écrire à la mairie du lieu du décès, "
            "en donnant le nom, le prénom et la date ; la copie est gratuite.",
        ),
        (
            "L'acte de mariage de {annee} que je cherche n'est pas dans le registre de {commune}. Est-il perdu ?",
            "Il manque des pages au registre des mariages de {commune} pour {annee}. Que puis-je faire ?",
            "Chaque registre était tenu en double. Si l'exemplaire de la commune est abîmé, celui du greffe se "
            "trouve chez nous, en sous-série 4 E. Vérifiez aussi les publications : le mariage a pu avoir lieu "
            "dans la commune de l'autre époux.",
        ),
        (
            "Je lis une mention marginale illisible sur un acte de {annee}. Pouvez-vous m'aider à la déchiffrer ?",
            "Que contiennent les mentions en marge des actes de naissance à {commune} ?",
            "Les mentions marginales signalent le mariage depuis 1897, puis le divorce, la légitimation et, "
            "depuis 1945, le décès. Envoyez-nous la vue et le numéro de l'acte : nous vous aiderons volontiers à "
            "la lire.",
        ),
        (
            "Comment convertir une date du calendrier républicain qui figure sur un acte de {commune} ?",
            "Un acte est daté du 12 messidor an IX ; à quel jour cela correspond-il ?",
            "Le calendrier républicain fut en usage de 1793 à la fin de 1805. Un tableau de concordance est "
            "affiché en salle et sur notre site ; le 12 messidor an IX y correspond au 1er juillet 1801.",
        ),
        (
            "Le nom {nom} est écrit de trois façons dans nos actes. Laquelle fait foi ?",
            "Pourquoi l'orthographe de {nom} change-t-elle d'un registre à l'autre, à {commune} ?",
            "Avant le livret de famille, créé en 1877, l'officier écrivait souvent le nom comme il l'entendait. "
            "Aucune forme ne fait foi à elle seule : cherchez toutes les variantes dans les tables.",
        ),
        (
            "Les tables décennales de {commune} sont-elles complètes entre {annee} et {plus10} ?",
            "À quoi servent les tables décennales, et y en a-t-il pour {commune} vers {annee} ?",
            "Elles donnent par ordre alphabétique les naissances, mariages et décès de dix années, avec la date "
            "de l'acte. Pour {commune}, elles sont complètes depuis 1802 et toutes numérisées.",
        ),
    ),
    "cadastre": (
        (
            "Je voudrais voir le plan de {commune} avec ma parcelle, au début du XIXe siècle.",
            "Le cadastre napoléonien de {commune} est-il en ligne ? Je cherche une parcelle près de l'église.",
            "Le plan cadastral ancien de {commune} a été levé en 1832 ; ses feuilles sont en ligne, en sous-série "
            "3 P. Commencez par le tableau d'assemblage, qui montre le découpage des sections, puis ouvrez la "
            "feuille.",
        ),
        (
            "Comment retrouver le propriétaire d'une parcelle de {commune} en {annee} ?",
            "À partir d'un numéro de parcelle, peut-on connaître son propriétaire vers {annee} ?",
            "L'état de sections donne, pour chaque numéro du plan, le nom du premier propriétaire et la nature du "
            "terrain. Sa case renvoie à un folio de la matrice, où sont inscrits les changements d'année en "
            "année.",
        ),
        (
            "La numérotation a changé depuis le plan ancien : comment passer de l'un à l'autre ?",
            "Existe-t-il une table de concordance entre l'ancien et le nouveau cadastre à {commune} ?",
            "Aucune table ne relie les deux plans. Il faut superposer la feuille ancienne et la feuille actuelle "
            "en s'aidant des chemins et des cours d'eau. La rénovation de {commune} date de 1936.",
        ),
        (
            "De quand date ma maison de {commune} ? Les matrices peuvent-elles le dire ?",
            "Je cherche l'année de construction d'un moulin à {commune}.",
            "À partir de 1882, la matrice des propriétés bâties note les constructions nouvelles et les "
            "démolitions, avec l'année d'imposition ; la construction la précède de deux ou trois ans, car le "
            "neuf était exempté.",
        ),
        (
            "Un chemin traverse mon terrain à {commune} : le plan dit-il s'il est communal ?",
            "Comment prouver qu'un chemin rural de {commune} existait déjà en {annee} ?",
            "Le plan montre le tracé, mais non le droit. Voyez le tableau des chemins vicinaux de la commune, en "
            "série O, et les délibérations municipales. Pour un litige, adressez-vous à un géomètre ou à un "
            "notaire.",
        ),
        (
            "Que veulent dire les lettres et les chiffres inscrits sur les feuilles du plan ?",
            "Sur la feuille B2 de {commune}, comment lire les numéros en rouge ?",
            "La lettre désigne la section et le chiffre la feuille ; les numéros sont ceux des parcelles. Ceux en "
            "rouge ont été ajoutés plus tard, après une division ou une réunion de parcelles.",
        ),
        (
            "Les augmentations et diminutions de {commune} ont-elles un registre à part ?",
            "Où sont notées les parcelles vendues par la famille {nom} entre {annee} et {plus10} ?",
            "Oui, jusqu'en 1914 un registre des augmentations et diminutions suit les états de sections. La "
            "colonne « tiré de, porté à » de la matrice permet de passer du vendeur {nom} à l'acheteur.",
        ),
    ),
    "notaires": (
        (
            "Comment trouver le contrat de mariage de mes aïeux {nom}, passé près de {commune} vers {annee} ?",
            "Je connais la date d'un mariage à {commune}, en {annee}, mais non le notaire. Comment le trouver ?",
            "Depuis 1850, l'acte de mariage indique s'il y eut un contrat et devant quel notaire. Avant cette "
            "date, consultez la table des contrats de mariage du bureau de l'enregistrement, en sous-série 3 Q.",
        ),
        (
            "Les minutes de l'étude de {commune} pour {recent} sont-elles consultables ?",
            "Quel délai s'applique à un testament reçu par le notaire de {commune} en {recent} ?",
            "Les minutes se consultent librement après soixante-quinze ans, ou cent ans si l'acte concerne un "
            "mineur. Plus récentes, elles sont encore chez le notaire qui a succédé à l'étude.",
        ),
        (
            "J'ai la cote 3 E 45/12. Est-ce bien le répertoire du notaire de {commune} ?",
            "Où sont les répertoires des notaires de {commune} ?",
            "Les répertoires et les minutes sont en sous-série 3 E, une étude après l'autre. Le répertoire liste "
            "les actes dans l'ordre des dates : relevez le jour et le numéro, puis demandez la liasse de minutes.",
        ),
        (
            "Que contient un inventaire après décès, et en existe-t-il un pour {nom}, mort en {annee} ?",
            "Je voudrais connaître les meubles et les outils de mon ancêtre {nom}. Quel acte chercher ?",
            "L'inventaire après décès décrit pièce par pièce les meubles, les outils, le linge, les dettes et les "
            "papiers. Il suit la mort de quelques semaines ; la table des décès de l'enregistrement dit s'il a "
            "été dressé.",
        ),
        (
            "Comment lire l'écriture d'un notaire de {ancien} ? Je n'y arrive pas.",
            "Proposez-vous de l'aide pour lire un acte notarié de {ancien} ?",
            "Un atelier de paléographie a lieu un jeudi sur deux à 14 heures, sans inscription. Les formules se "
            "répètent d'un acte à l'autre : commencez par un acte récent de la même étude et remontez le temps.",
        ),
        (
            "Les ventes de biens nationaux à {commune} passaient-elles devant notaire ?",
            "Qui a acheté le presbytère de {commune} pendant la Révolution ?",
            "Non, ces ventes étaient adjugées par le district. Les procès-verbaux sont en sous-série 1 Q, classés "
            "par commune, avec le nom de l'acquéreur et le prix. La revente, elle, passa devant notaire.",
        ),
        (
            "Mon grand-oncle {nom} était notaire. Avez-vous des papiers sur l'étude elle-même ?",
            "Peut-on connaître la liste des notaires qui se sont succédé à {commune} ?",
            "Un tableau des études et de leurs titulaires se trouve en tête du répertoire de la sous-série 3 E. "
            "Les dossiers de nomination sont aux Archives nationales, dans la sous-série BB/9.",
        ),
    ),
}
