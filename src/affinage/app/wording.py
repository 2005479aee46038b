"""The texts of the interface by key, each in English and in French."""

WORDS: dict[str, tuple[str, str]] = {
    "language": ("Language", "Langue"),
    "chat": ("Chat", "Conversation"),
    "documents": ("Documents", "Documents"),
    "summaries": ("Summaries", "Résumés"),
    "runs": ("Runs", "Entraînements"),
    "loading": ("Loading the model…", "Chargement du modèle…"),
    "model_is": ("Model: {name}", "Modèle : {name}"),
    "tiny": (
        "This model is tiny ({millions} million parameters). It can do what it was tuned on and nothing else: it is "
        "there to try and to learn with, not to be relied on. Expect wrong answers on this page.",
        "Ce modèle est minuscule ({millions} millions de paramètres). Il sait faire ce qu'il a appris et rien d'autre "
        ": il sert à essayer et à apprendre, pas à travailler. Attendez-vous à des réponses fausses sur cette page.",
    ),
    "sent_away": (
        "The model runs on another machine: what you write, and the passages of your documents, are sent to {where}",
        "Le modèle tourne sur une autre machine : ce que vous écrivez, et les passages de vos documents, sont envoyés "
        "à {where}",
    ),
    "went_wrong": ("That did not work:", "Cela n'a pas marché :"),
    "bug": (
        "Something went wrong in the application itself. Your conversation is still there; the log of the server says "
        "what it was.",
        "Une erreur s'est produite dans l'application elle-même. Votre conversation est toujours là ; le journal du "
        "serveur dit laquelle.",
    ),
    # Chat
    "who": ("Who answers", "Qui répond"),
    "side_base": ("base", "base"),
    "side_tuned": ("tuned", "ajusté"),
    "side_both": ("both", "les deux"),
    "side_model": ("model", "modèle"),
    "instruction": (
        "Instruction given with each question (optional)",
        "Consigne jointe à chaque question (facultatif)",
    ),
    "instruction_example": ("for example: Put the sentence into the passive", "par exemple : Mets la phrase au passif"),
    "instruction_help": (
        "Fills the first column of the training prompt, your question the next. After a change the model no longer "
        "sees what was said before.",
        "Remplit la première colonne du prompt d'entraînement, votre question la suivante. Après un changement, le "
        "modèle ne voit plus ce qui a été dit avant.",
    ),
    "ask": ("Write to the model", "Écrivez au modèle"),
    "settings": ("How answers are drawn", "Comment les réponses sont tirées"),
    "temperature": ("Temperature", "Température"),
    "temperature_help": (
        "0 always takes the likeliest word; higher values vary more.",
        "0 prend toujours le mot le plus probable ; plus haut, les réponses varient davantage.",
    ),
    "top_p": ("Top-p", "Top-p"),
    "max_tokens": ("Longest answer (tokens)", "Réponse la plus longue (tokens)"),
    "seed": ("Seed", "Graine"),
    "seed_none": ("another one each time", "une autre à chaque fois"),
    "memory": ("Remember the conversation", "Se souvenir de la conversation"),
    "memory_help": (
        "Off: each question is put alone, as in training.",
        "Désactivé : chaque question est posée seule, comme à l'entraînement.",
    ),
    "examples": (
        "Begin with a question of the test set, which the model has never seen:",
        "Commencez par une question du jeu de test, que le modèle n'a jamais vue :",
    ),
    "try_it": ("Try", "Essayer"),
    "asked_with": ("with the instruction", "avec la consigne"),
    "waiting": ("waiting for the model…", "en attente du modèle…"),
    "stop": ("Stop", "Arrêter"),
    "stopped": ("Stopped.", "Arrêté."),
    "cut": ("Cut after {n} tokens.", "Coupé après {n} tokens."),
    "empty_answer": ("The model answered nothing.", "Le modèle n'a rien répondu."),
    "forgotten": (
        "Not everything fitted: the oldest turns left out of what the model saw: {n}.",
        "Tout ne tenait pas : échanges les plus anciens que le modèle n'a pas vus : {n}.",
    ),
    "model_failed": (
        "The model failed. You can go on: this answer is left out of its memory.",
        "Le modèle a échoué. Vous pouvez continuer : cette réponse est laissée hors de sa mémoire.",
    ),
    "review_kept": ("Kept, thank you.", "Noté, merci."),
    "review_taken_back": ("Taken back.", "Retiré."),
    "save": ("Save the conversation", "Enregistrer la conversation"),
    "export": ("Export as training rows ({n})", "Exporter en lignes d'entraînement ({n})"),
    "anew": ("New conversation", "Nouvelle conversation"),
    "left_out": (
        "Left out of the training rows because they did not end by themselves: {n}.",
        "Laissées hors des lignes d'entraînement parce qu'elles ne se sont pas terminées d'elles-mêmes : {n}.",
    ),
    "all_whole": (
        "Every answer ended by itself and is a training row.",
        "Chaque réponse s'est terminée d'elle-même et donne une ligne d'entraînement.",
    ),
}
