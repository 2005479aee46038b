"""Conditions of heart, lungs, blood, stomach and metabolism in general terms: no medical advice.

Name: what it is, its signs, what brings it about, how it is treated.
"""

CONDITIONS: dict[str, tuple[str, str, str, str]] = {
    "High Blood Pressure": (
        "High blood pressure means that blood pushes against the walls of the arteries harder than it should, day "
        "after day. A reading has two numbers, one for the beat of the heart and one for the pause.",
        "Most people notice nothing for years. Headaches or nosebleeds come only when the pressure is very high.",
        "Age, salt, excess weight, alcohol and a family history all play a part. In a few people a disease of the "
        "kidneys or of a gland is behind it.",
        "Less salt, more movement and weight loss come first. Many people also take one or more medicines every day.",
    ),
    "Angina": (
        "Angina is a pain in the chest that comes when the heart muscle gets less oxygen than it needs.",
        "Pressure behind the breastbone that may spread to an arm, the jaw or the back. It comes with effort and goes "
        "with rest.",
        "The arteries of the heart have become narrow, mostly through fatty deposits in their walls.",
        "A spray or tablet under the tongue eases an attack. Other medicines prevent them, and narrow arteries can be "
        "widened or bypassed.",
    ),
    "Heart Failure": (
        "Heart failure means that the heart pumps too weakly for what the body needs. It does not mean that the heart "
        "stops.",
        "Shortness of breath on stairs or lying down, swollen ankles, tiredness, and a weight that rises within days.",
        "An earlier heart attack, high blood pressure, faulty valves and some infections weaken the heart muscle.",
        "Several medicines relieve the heart and remove water. Weighing oneself every day shows early when water is "
        "building up.",
    ),
    "Atrial Fibrillation": (
        "Atrial fibrillation is an irregular and often rapid heartbeat that starts in the upper chambers of the heart.",
        "A fluttering heart, weakness, dizziness or short breath. Some people feel nothing at all.",
        "High blood pressure, heart disease, an overactive thyroid, alcohol and growing older make it more likely.",
        "Medicines slow the beat or restore its rhythm, and others keep blood from clotting. A small procedure can "
        "treat the spot where the faulty signals start.",
    ),
    "Varicose Veins": (
        "Varicose veins are swollen, twisted veins under the skin, mostly of the legs.",
        "Heavy or aching legs, itching, and blue cords that can be seen when standing.",
        "Valves in the veins close badly, so that blood flows back. Standing for long, pregnancy and family history "
        "favour it.",
        "Walking, raising the legs and elastic stockings help. Veins that trouble can be closed with heat or foam, or "
        "taken out.",
    ),
    "Iron Deficiency Anemia": (
        "In iron deficiency anemia the body has too little iron to build enough healthy red blood cells.",
        "Tiredness, pale skin, brittle nails, short breath on effort, and sometimes a wish to chew ice.",
        "Loss of blood, as in heavy periods or a bleeding stomach, a diet without enough iron, or poor absorption.",
        "Iron tablets fill the stores within months. The reason for the lack is looked for and treated as well.",
    ),
    "Asthma": (
        "Asthma is a long-lasting inflammation of the airways, which narrow from time to time.",
        "Wheezing, coughing at night, a tight chest and short breath, often in attacks.",
        "The airways react too strongly to pollen, dust mites, smoke, cold air, infections or effort.",
        "An inhaler for relief opens the airways at once. Another one, used every day, calms the inflammation.",
    ),
    "Chronic Bronchitis": (
        "Chronic bronchitis is a cough with phlegm on most days of at least three months, two years in a row.",
        "A cough that brings up phlegm, most of all in the morning, and breath that gets shorter over the years.",
        "Smoking is by far the most frequent cause; dust and fumes at work add to it.",
        "Giving up smoking slows the disease. Inhalers, exercise programs and vaccines against infections help as "
        "well.",
    ),
    "Pneumonia": (
        "Pneumonia is an infection of the small air sacs of one or both lungs.",
        "Fever, chills, a cough with coloured phlegm, pain on breathing in, and confusion in older people.",
        "Bacteria and viruses are the usual causes, more rarely fungi or something that was inhaled.",
        "Antibiotics act against bacteria. Rest and fluids support recovery; some people need oxygen in a hospital.",
    ),
    "Sleep Apnea": (
        "In sleep apnea, breathing stops again and again during sleep, each time for ten seconds or longer.",
        "Loud snoring with pauses, sleepiness by day, headaches in the morning and poor concentration.",
        "The soft parts of the throat sink together. Excess weight, alcohol in the evening and a narrow jaw favour it.",
        "A mask that blows air keeps the throat open. Losing weight and sleeping on the side help in mild cases.",
    ),
    "Influenza": (
        "Influenza is an infection of the airways by viruses that change from year to year.",
        "Sudden fever, aching muscles, headache, a dry cough and great tiredness.",
        "The virus travels in droplets and on hands, mostly in the cold months.",
        "Rest, fluids and medicines against fever are enough for most people. A vaccine every autumn lowers the risk.",
    ),
    "Heartburn": (
        "Heartburn is a burning behind the breastbone that comes from acid rising out of the stomach.",
        "Burning after meals or when lying down, a sour taste, and a cough at night.",
        "The muscle between gullet and stomach closes badly. Large meals, coffee, alcohol and excess weight add to it.",
        "Small meals and a raised head of the bed help many people. Medicines lower the acid when that is not enough.",
    ),
    "Stomach Ulcer": (
        "A stomach ulcer is an open sore in the lining of the stomach.",
        "A dull pain in the upper belly, fullness and nausea. Black stools or vomiting of blood need help at once.",
        "A bacterium named Helicobacter pylori and painkillers of the aspirin kind cause most ulcers.",
        "Antibiotics remove the bacterium, and medicines against acid let the sore heal within weeks.",
    ),
    "Gallstones": (
        "Gallstones are hard pieces that form in the gallbladder from parts of the bile.",
        "Many cause nothing. A stone that blocks the way out brings strong pain in the right upper belly.",
        "Too much cholesterol in the bile, rapid weight loss, pregnancy and age favour stones.",
        "Stones without complaints are left alone. Otherwise the gallbladder is taken out, mostly through small cuts.",
    ),
    "Irritable Bowel Syndrome": (
        "Irritable bowel syndrome is a disorder of how the bowel works, without damage that can be seen.",
        "Belly pain that changes after going to the toilet, bloating, diarrhea, constipation or both in turn.",
        "A sensitive bowel, its nerves and its bacteria are thought to play together; stress makes it worse.",
        "Regular meals, soluble fibre and leaving out single foods help. Some people benefit from medicines or "
        "therapy.",
    ),
    "Celiac Disease": (
        "In celiac disease the body reacts to gluten, a protein of wheat, rye and barley, and harms its own small "
        "bowel.",
        "Diarrhea, bloating, weight loss, lack of iron; children may grow slowly.",
        "An inherited tendency together with gluten in the diet.",
        "A diet without any gluten, for life, lets the bowel heal.",
    ),
    "Lactose Intolerance": (
        "With lactose intolerance the body digests milk sugar badly.",
        "Gas, cramps and diarrhea half an hour to two hours after milk or ice cream.",
        "The small bowel makes too little lactase, the enzyme that splits milk sugar. In much of the world this is "
        "usual in adults.",
        "Small amounts, hard cheese and milk without lactose are mostly tolerated. Tablets with the enzyme exist.",
    ),
    "Appendicitis": (
        "Appendicitis is an inflammation of the appendix, a small pouch at the start of the large bowel.",
        "Pain that begins near the navel and moves to the lower right, loss of appetite, nausea and fever.",
        "The pouch is blocked, often by hard stool, and bacteria multiply inside.",
        "The appendix is taken out by surgery. In some simple cases antibiotics are tried first.",
    ),
    "Type 2 Diabetes": (
        "In type 2 diabetes there is too much sugar in the blood, because the body uses its insulin badly.",
        "Thirst, frequent urination, tiredness and slow healing. Many people feel nothing for years.",
        "Excess weight, too little movement, age and family history make it more likely.",
        "Food, movement and weight come first, then tablets or injections. Eyes, feet and kidneys are checked "
        "regularly.",
    ),
    "Hypothyroidism": (
        "Hypothyroidism means that the thyroid, a gland in the neck, makes too little of its hormones.",
        "Tiredness, feeling cold, dry skin, weight gain, a slow pulse and low mood.",
        "Mostly the immune system attacks the gland. An operation, some medicines and lack of iodine are other causes.",
        "A tablet a day replaces the missing hormone. Blood tests show whether the dose is right.",
    ),
    "Gout": (
        "Gout is an inflammation of joints by crystals of uric acid.",
        "Sudden strong pain in one joint, often the big toe, which is red, hot and swollen.",
        "Too much uric acid in the blood, through inheritance, weak kidneys, beer, meat or some medicines.",
        "Medicines against inflammation end an attack. Others lower uric acid for years and prevent the next one.",
    ),
    "Kidney Stones": (
        "Kidney stones are hard crystals that form in the kidneys out of substances in the urine.",
        "Waves of strong pain in the side that move towards the groin, and blood in the urine.",
        "Drinking too little, much salt and animal protein, and a family history favour stones.",
        "Small stones leave with the urine while painkillers help. Larger ones are broken up by shock waves or "
        "removed.",
    ),
    "Urinary Tract Infection": (
        "A urinary tract infection is an infection of the bladder or of the ways that urine takes.",
        "Burning and frequent urination, cloudy urine and pressure in the lower belly. Fever points to the kidneys.",
        "Bacteria from the bowel move up the urethra, which is short in women.",
        "A short course of antibiotics is usual. Drinking enough helps to prevent another one.",
    ),
    "High Cholesterol": (
        "High cholesterol means that the blood carries more of certain fats than is good for the arteries.",
        "It is not felt; a blood test finds it.",
        "Inheritance, food rich in animal fat, excess weight and some diseases raise it.",
        "Food with less animal fat and more fibre lowers it a little; statins lower it further.",
    ),
}
