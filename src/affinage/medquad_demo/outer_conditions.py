"""Conditions of skin, bones, nerves and senses in general terms: no medical advice.

Name: what it is, its signs, what brings it about, how it is treated.
"""

CONDITIONS: dict[str, tuple[str, str, str, str]] = {
    "Eczema": (
        "Eczema is an itching inflammation of the skin that comes and goes, often from childhood on.",
        "Dry, red and itching patches, in the bends of elbows and knees above all.",
        "The barrier of the skin is weak by inheritance; soaps, wool, sweat and stress start a flare.",
        "Greasy creams every day keep the skin whole. Creams against inflammation are used in a flare.",
    ),
    "Psoriasis": (
        "Psoriasis is a long-lasting disease in which new skin forms much too fast.",
        "Thick red patches with silvery scales on elbows, knees and scalp; some people have painful joints.",
        "The immune system drives it, with a family tendency. Infections, stress and some medicines bring flares.",
        "Creams and light help in mild cases. Tablets or injections calm the immune system in severe ones.",
    ),
    "Acne": (
        "Acne is an inflammation of the oil glands of the skin, most frequent in young people.",
        "Blackheads, pimples and sometimes painful lumps on face, chest and back.",
        "Hormones make the glands produce more oil, pores get blocked, and bacteria multiply there.",
        "Creams that open the pores need some weeks. Antibiotics or other tablets are used when acne is severe.",
    ),
    "Hives": (
        "Hives are itching swellings of the skin that move from place to place within hours.",
        "Raised pale or red spots that itch, sometimes with swollen lips or eyelids.",
        "Foods, medicines, infections, cold or pressure; often no cause is found.",
        "Tablets against allergy relieve the itch. Trouble with breathing is an emergency.",
    ),
    "Shingles": (
        "Shingles is a rash that appears when the virus of chickenpox wakes up in a nerve.",
        "Burning pain on one side of the body, then a band of small blisters.",
        "The virus stays in the body after chickenpox; age and a weak immune system let it return.",
        "Medicines against the virus work best in the first three days. A vaccine exists for older people.",
    ),
    "Athlete's Foot": (
        "Athlete's foot is an infection of the skin of the feet by a fungus.",
        "Itching, cracked and white skin between the toes.",
        "The fungus likes warm and damp places, such as tight shoes and changing rooms.",
        "A cream against fungi for some weeks, dry feet and fresh socks every day.",
    ),
    "Osteoarthritis": (
        "Osteoarthritis is a wearing down of the cartilage in joints such as knees, hips and hands.",
        "Pain on effort, stiffness for some minutes after rest, and joints that creak.",
        "Age, excess weight, old injuries and inheritance.",
        "Movement and strong muscles help most. Painkillers are used for a time; a worn joint can be replaced.",
    ),
    "Rheumatoid Arthritis": (
        "Rheumatoid arthritis is a disease in which the immune system attacks the lining of the joints.",
        "Swollen and warm joints on both sides, stiffness of an hour or more in the morning, and tiredness.",
        "The cause is not known; inheritance and smoking raise the risk.",
        "Medicines that slow the disease are begun early, so that joints are not destroyed.",
    ),
    "Osteoporosis": (
        "Osteoporosis means that bones lose substance and break easily.",
        "Nothing is felt until a bone breaks. Later, people may lose height or get a rounded back.",
        "Age, the years after menopause, some medicines such as cortisone, and too little movement.",
        "Calcium, vitamin D and movement are the base. Medicines lower the risk of breaks in people at high risk.",
    ),
    "Low Back Pain": (
        "Low back pain is a pain between the lower ribs and the legs. It is very frequent and mostly harmless.",
        "Aching or stabbing pain that changes with position, sometimes going down a leg.",
        "Strained muscles and ligaments in most cases, a slipped disc in some.",
        "Staying active is better than bed. Warmth and painkillers for a short time help; weak legs need help at once.",
    ),
    "Carpal Tunnel Syndrome": (
        "In carpal tunnel syndrome a nerve is squeezed at the wrist.",
        "Tingling and numb fingers, at night above all, and a weak thumb.",
        "Repeated movements, pregnancy, thyroid disease or a narrow tunnel by nature.",
        "A splint at night helps in mild cases. An injection or a small operation frees the nerve.",
    ),
    "Fibromyalgia": (
        "Fibromyalgia is a disorder with pain in many parts of the body and poor sleep.",
        "Pain on both sides of the body for months, tiredness, and trouble with concentration.",
        "The nervous system seems to process pain too strongly. Stress and illness can start it.",
        "Regular gentle exercise helps most, together with better sleep, therapy and some medicines.",
    ),
    "Migraine": (
        "Migraine is a disorder with attacks of strong headache that last from hours to three days.",
        "Throbbing pain, often on one side, with nausea and dislike of light and noise. Some see zigzag lines before.",
        "Inheritance, and triggers such as lack of sleep, skipped meals, hormones or alcohol.",
        "Painkillers or triptans taken early stop many attacks. Frequent attacks can be prevented by other medicines.",
    ),
    "Tension Headache": (
        "A tension headache is the most frequent kind of headache: a dull pressure around the head.",
        "A feeling like a tight band on both sides, without nausea, from half an hour to several days.",
        "Stress, tired eyes, a stiff neck and lack of sleep.",
        "Rest, movement and now and then a painkiller. Taking painkillers on many days can itself cause headaches.",
    ),
    "Epilepsy": (
        "Epilepsy is a tendency of the brain to have seizures again and again.",
        "Seizures differ: staring for seconds, jerking of one arm, or a fall with jerks of the whole body.",
        "Inheritance, an injury or a stroke; often the cause stays unknown.",
        "Medicines prevent seizures in most people. Surgery or a diet helps some of the others.",
    ),
    "Parkinson's Disease": (
        "Parkinson's disease is a slow loss of nerve cells in the brain that control movement.",
        "Trembling at rest, slow movements, stiff muscles and small steps.",
        "The cells that make dopamine die; why is not known in most people.",
        "Medicines that replace dopamine help for years. Exercise and speech therapy are part of the treatment.",
    ),
    "Stroke": (
        "In a stroke a part of the brain is cut off from blood, by a clot or by a bleeding.",
        "Sudden weakness of a face, arm or leg, trouble with speech or sight. Every minute counts: call for help.",
        "High blood pressure, an irregular heartbeat, smoking, diabetes and narrow arteries in the neck.",
        "A clot can be dissolved or pulled out in the first hours. Rehabilitation begins within days.",
    ),
    "Vertigo": (
        "Vertigo is the feeling that oneself or the room is turning.",
        "Turning for seconds when the head moves, unsteady walking and nausea.",
        "Loose crystals in the inner ear are the most frequent cause; inflammations of the nerve are another.",
        "Certain movements of the head bring the crystals back. Other causes are treated by themselves.",
    ),
    "Insomnia": (
        "Insomnia means trouble with falling or staying asleep, at least three nights a week for months.",
        "Lying awake, waking too early, and being tired or irritable by day.",
        "Worries, pain, shift work, caffeine, screens and alcohol in the evening.",
        "Fixed hours and less time in bed, learned in a therapy for sleep, work better than tablets in the long run.",
    ),
    "Cataract": (
        "A cataract is a clouding of the lens of the eye.",
        "Blurred sight, pale colours and glare at night.",
        "Age above all; diabetes, cortisone and injuries make it come earlier.",
        "The clouded lens is replaced by an artificial one in a short operation.",
    ),
    "Glaucoma": (
        "Glaucoma is a damage to the nerve of the eye, often with too high a pressure in the eye.",
        "For long nothing is felt; then parts of the field of sight are missing.",
        "Fluid leaves the eye too slowly. Age and family history raise the risk.",
        "Drops every day lower the pressure. Laser or surgery is used when drops are not enough.",
    ),
    "Tinnitus": (
        "Tinnitus is a ringing or hissing in the ears without a sound from outside.",
        "A tone or noise, constant or now and then, that is loudest in silence.",
        "Noise, loss of hearing, ear wax, some medicines and stress.",
        "There is no quick cure. Hearing aids, background sound and therapy make it less of a burden.",
    ),
    "Middle Ear Infection": (
        "A middle ear infection is an inflammation behind the eardrum, most frequent in small children.",
        "Earache, fever, poor hearing; small children pull at the ear and cry.",
        "Germs of a cold rise through the tube between throat and ear.",
        "Painkillers and waiting are often enough. Antibiotics are given to the very young and the very ill.",
    ),
    "Seasonal Allergies": (
        "Seasonal allergies are a reaction of nose and eyes to pollen.",
        "Sneezing, a running nose and itching eyes in the same months every year.",
        "The immune system takes the pollen of trees or grasses for something dangerous.",
        "Nasal sprays and tablets against allergy help. A course of injections or tablets can train the body.",
    ),
}
