"""What readers ask about the reading room and about copies, and mails that ask the archives nothing.

The form and the fields are those of `records`; {jour} is a day of the week.
"""

EXCHANGES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "horaires": (
        (
            "Êtes-vous ouverts le {jour} matin ?",
            "À quelle heure ouvre la salle de lecture le {jour} ?",
            "La salle de lecture ouvre du mardi au vendredi, de 9 heures à 17 heures sans interruption. Elle est "
            "fermée le lundi, et le premier mardi du mois pour le classement.",
        ),
        (
            "Faut-il réserver une place avant de venir ?",
            "Dois-je m'inscrire à l'avance pour consulter des registres ?",
            "Aucune réservation n'est nécessaire. L'inscription est gratuite et se fait sur place avec une pièce "
            "d'identité ; la carte de lecteur vaut pour l'année civile.",
        ),
        (
            "La salle ferme-t-elle pendant les vacances de fin d'année ?",
            "Y a-t-il une fermeture annuelle en été ?",
            "Nous fermons deux semaines par an : la dernière de décembre et la première de juillet. Les dates "
            "exactes sont affichées sur notre site dès le mois de janvier.",
        ),
        (
            "Jusqu'à quelle heure puis-je demander un document ?",
            "À quels moments les magasiniers apportent-ils les cartons ?",
            "Les levées ont lieu à 9 h 30, 11 heures, 14 heures et 15 h 30. Un document demandé après 15 h 30 est "
            "mis de côté pour le lendemain. Comptez cinq documents par demi-journée.",
        ),
        (
            "Peut-on venir avec un groupe de {nombre} élèves ?",
            "Je suis enseignante à {commune} : recevez-vous des classes ?",
            "Notre service éducatif reçoit les classes le jeudi et le vendredi matin, par groupes de trente au "
            "plus. La visite dure deux heures ; écrivez-nous au moins un mois à l'avance avec le thème choisi.",
        ),
        (
            "Comment se garer près des archives, et le bâtiment est-il accessible en fauteuil ?",
            "Je viens de {commune} en train. Le bâtiment est-il loin de la gare ?",
            "Le bâtiment est à dix minutes à pied de la gare. Il a un parc de stationnement gratuit avec deux "
            "places réservées, et une entrée de plain-pied ; un ascenseur mène à la salle de lecture.",
        ),
        (
            "Puis-je apporter mon ordinateur et travailler jusqu'à la fermeture ?",
            "La salle a-t-elle une connexion et des prises pour un ordinateur ?",
            "Oui, chaque table a une prise, et l'accès au réseau est gratuit avec le code remis à l'accueil. "
            "Seuls les stylos, les sacs et les manteaux restent au vestiaire.",
        ),
    ),
    "reproduction": (
        (
            "Puis-je photographier moi-même un registre de {commune} ?",
            "Les photographies sans flash sont-elles permises en salle ?",
            "Oui, la photographie sans flash ni pied est libre et gratuite, sauf pour les documents en mauvais "
            "état ou soumis à un droit particulier. Signalez-vous au président de salle avant de commencer.",
        ),
        (
            "Combien coûte la reproduction d'un plan de {commune} en grand format ?",
            "Quel est le tarif d'une numérisation en haute définition ?",
            "Une vue en haute définition coûte 3 euros et un plan en grand format 12 euros, frais d'envoi en "
            "plus. Le devis est gratuit : indiquez la cote et le format souhaité. Le délai est de trois semaines.",
        ),
        (
            "Je prépare un livre sur {commune} : ai-je le droit de publier une carte postale de votre fonds ?",
            "Quelles conditions pour reproduire une de vos images dans une revue ?",
            "La réutilisation est libre pour les documents tombés dans le domaine public, à condition de citer la "
            "cote et les Archives départementales du Valcreux. Pour une image plus récente, il faut l'accord de "
            "son auteur.",
        ),
        (
            "Pouvez-vous m'envoyer par courriel la copie d'un acte de {annee} ?",
            "J'habite loin ; faites-vous des recherches et des copies à distance ?",
            "Nous envoyons la copie d'un acte si vous donnez la commune, la date et les noms. Nous ne faisons pas "
            "de recherche longue : une demande se limite à trois actes par mois et par personne.",
        ),
        (
            "Une copie certifiée conforme est-elle possible pour un acte de {annee} ?",
            "Mon notaire demande une copie authentique d'un acte de vente de {annee}. Que faire ?",
            "Nous délivrons des copies certifiées des minutes versées chez nous, sur demande écrite qui précise "
            "la date, le nom du notaire et l'usage. Comptez dix jours et 5 euros par acte.",
        ),
        (
            "Le document que je veux est trop fragile pour être photocopié. Existe-t-il une autre solution ?",
            "On m'a refusé la photocopie d'un parchemin de {ancien}. Comment en avoir une image ?",
            "Nous ne photocopions ni les registres reliés ni les parchemins. Notre atelier peut en faire une "
            "prise de vue, si l'état du document le permet ; la demande est examinée sous une semaine.",
        ),
        (
            "Vos images en ligne se téléchargent-elles toutes à la fois ?",
            "Comment enregistrer une vue de l'état civil de {commune} depuis votre site ?",
            "Le bouton de téléchargement, en haut de la visionneuse, enregistre la vue affichée. Le "
            "téléchargement en lot n'est pas proposé en ligne ; pour une étude, demandez-nous une licence de "
            "réutilisation.",
        ),
    ),
    "hors sujet": (
        (
            "Recrutez-vous des saisonniers ? Je joins mon curriculum vitae.",
            "Je cherche un stage de deux mois en informatique, est-ce possible chez vous ?",
            "Nous transmettons votre message au service des ressources humaines du département, qui répond aux "
            "candidatures. La salle de lecture ne peut pas vous renseigner.",
        ),
        (
            "Mon abonnement de bus n'a pas été renouvelé. Pouvez-vous vérifier mon dossier ?",
            "À qui signaler un lampadaire en panne devant la mairie de {commune} ?",
            "Votre message nous est arrivé par erreur : nous conservons des documents anciens. Adressez-vous à la "
            "mairie ou au service des transports.",
        ),
        (
            "Seriez-vous intéressés par notre nouvelle gamme de fauteuils de bureau ?",
            "Puis-je vous présenter notre logiciel de gestion de stock cette semaine ?",
            "Nos achats passent par le service des marchés publics du département. Merci de ne plus écrire à "
            "cette adresse, qui est réservée aux lecteurs.",
        ),
    ),
}
