"use strict";
// Texts of models and data enter the page through textContent alone, so that no markup in them becomes an element.
(() => {
  const PER_PAGE = 20;
  const APART = 50;  // points between two judges of one answer that make it disputed
  const FLAGS = { limit: "cut at the limit", empty: "empty", repeats: "repeats itself" };
  const { systems, judges, rows } = JSON.parse(document.getElementById("data").textContent);
  const FILTERS = ["all", "better", "worse", "changed", ...(judges.length ? ["disputed"] : [])];
  const get = (id) => document.getElementById(id);
  const place = (key) => systems.findIndex((system) => system.key === key);
  const tuned = systems.filter((system) => system.kind === "tuned");
  const defaults = {
    filter: "all", run: (tuned.at(-1) ?? systems.at(-1)).key, against: (tuned.length > 1 ? tuned : systems)[0].key,
    search: "", label: "", order: "file", hide: "", diff: "on", reasons: "on", page: "1", row: "",
  };
  let state = { ...defaults };

  const element = (tag, name = "", ...children) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...children);
    return made;
  };
  const textOf = (row, answer) =>
    answer.d ? answer.d.filter(([kind]) => kind >= 0).map(([, text]) => text).join("") : row.reference;
  const folded = (text) =>
    text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase()
      .replace(/œ/g, "oe").replace(/æ/g, "ae").replace(/[’ʼ]/g, "'").replace(/\s+/g, " ");
  const wholeText = (row) => {
    const texts = [row.id, row.label, row.instruction, row.input, row.prompt, row.reference];
    const reasons = row.answers.flatMap((answer) => (answer?.j ?? []).map(([, , note, reason]) => `${note}\n${reason}`));
    return folded([...texts, ...row.answers.map((answer) => (answer ? textOf(row, answer) : "")), ...reasons].join("\n"));
  };
  const searched = (row) => (row.searched ??= wholeText(row));

  // The sign of a row's change from the answer it is held against: 1 better, -1 worse, 0 neither, null not both there.
  const change = (row) => {
    const [one, other] = [row.answers[place(state.run)], row.answers[place(state.against)]];
    return one && other ? Math.sign(one.s - other.s) : null;
  };
  const changed = (row) => {
    const [one, other] = [row.answers[place(state.run)], row.answers[place(state.against)]];
    return Boolean(one && other) && textOf(row, one) !== textOf(row, other);
  };
  const value = (row, key, judge) => row.answers[place(key)]?.j?.find(([number]) => number === judge)?.[1] ?? null;
  // As `change`, by a judge: the sign of the two scores' difference, or who won the duel if these two met in one.
  const preference = (row, judge) => {
    const won = (one, other) => (systems[place(one)].base === other ? value(row, one, judge) : null);
    const met = judges[judge].duel;
    const one = met ? won(state.run, state.against) : value(row, state.run, judge);
    const other = met ? won(state.against, state.run) : value(row, state.against, judge);
    if (met) return one !== null ? Math.sign(one - 0.5) : other !== null ? Math.sign(0.5 - other) : null;
    return one !== null && other !== null ? Math.sign(one - other) : null;
  };
  const apart = (row, key) => {
    const values = judges.map((judge, number) => (judge.duel ? null : value(row, key, number))).filter((given) => given !== null);
    return values.length > 1 && Math.max(...values) - Math.min(...values) >= APART;
  };
  const disputed = (row) => {
    const signs = [change(row), ...judges.map((_, number) => preference(row, number))].filter(Boolean);
    return new Set(signs).size > 1 || [state.run, state.against].some((key) => apart(row, key));
  };
  const passes = {
    all: () => true, better: (row) => change(row) === 1, worse: (row) => change(row) === -1, changed, disputed,
  };
  const gain = (row) => {
    const [one, other] = [row.answers[place(state.run)], row.answers[place(state.against)]];
    return one && other ? one.s - other.s : null;
  };
  const orders = { loss: gain, gain: (row) => negative(gain(row)), low: (row) => row.answers[place(state.run)]?.s ?? null };
  const negative = (value) => (value === null ? null : -value);

  const kept = () => {
    const words = folded(state.search.trim());
    return rows.filter((row) => (!state.label || row.label === state.label) && (!words || searched(row).includes(words)));
  };
  const ordered = (list) => {
    const key = orders[state.order];
    if (!key) return list;
    const keyed = list.map((row) => [key(row), row]);
    return keyed.sort(([a], [b]) => (a === null) - (b === null) || a - b).map(([, row]) => row);
  };

  const badge = (index) => {
    const made = element("span", `badge ${systems[index].colour}`, systems[index].key);
    made.title = systems[index].name;
    return made;
  };
  const pieces = (row, answer) => {
    const body = element("div");
    if (!answer.d) return body.append(row.reference), body;
    for (const [kind, text] of answer.d) {
      body.append(kind === 0 ? text : element(kind > 0 ? "ins" : "del", "", text));
    }
    if (!textOf(row, answer).trim()) body.prepend(element("span", "soft", "(empty) "));
    return body;
  };
  const verdict = ([number, given, note, reason]) => {
    const judge = judges[number];
    const head = element("b", "", judge.title);
    const box = element("div", "said", ...(judge.demo ? [element("span", "demo", "DEMO"), " "] : []), head);
    if (!judge.duel && given !== null) box.append(`: ${Number(given.toFixed(1))} of 100`);
    if (note) box.append(judge.duel || given === null ? `: ${note}` : ` (${note})`);
    if (reason) box.append(element("span", "reason", reason));
    return box;
  };
  const answerBox = (row, index) => {
    const answer = row.answers[index];
    const head = element("h4", "", badge(index));
    const box = element("div", `answer ${systems[index].colour}`, head);
    box.dataset.system = systems[index].key;
    if (!answer) return head.append("did not answer this row"), box;
    head.append(answer.s === 100 ? element("span", "equal", "✓ equal") : `chrF ${answer.s.toFixed(1)}`);
    const sign = index === place(state.run) && state.run !== state.against ? change(row) : null;
    if (sign === 1) head.append(element("span", "gain", `▲ better than ${state.against}`));
    if (sign === -1) head.append(element("span", "loss", `▼ worse than ${state.against}`));
    for (const flag of answer.f ?? []) head.append(element("span", "flag", `⚠ ${FLAGS[flag] ?? flag}`));
    box.append(pieces(row, answer), ...(answer.j ?? []).map(verdict));
    return box;
  };
  const card = (row) => {
    const link = element("a", "", row.id);
    link.href = `#row=${encodeURIComponent(row.id)}`;
    link.title = "Link to this row";
    const head = element("header", "", link);
    if (row.label) head.append(element("span", "label", row.label));
    const question = element("div", "question");
    if (row.instruction) question.append(element("b", "", row.instruction));
    if (row.input || row.prompt) question.append(element("span", "input", row.input ?? row.prompt));
    const reference = element("div", "answer reference", element("h4", "", "reference"), element("div", "", row.reference));
    const hidden = state.hide.split(",");
    const shown = systems.map((_, index) => index).filter((index) => !hidden.includes(systems[index].key));
    const made = element("article", "row", head, question);
    made.append(element("div", "answers", reference, ...shown.map((index) => answerBox(row, index))));
    made.dataset.row = row.id;
    if (row.id === state.row) made.classList.add("target");
    return made;
  };

  const render = () => {
    const within = kept();
    const list = ordered(within.filter(passes[state.filter]));
    const pages = Math.max(1, Math.ceil(list.length / PER_PAGE));
    if (state.row) state.page = String(Math.floor(Math.max(0, list.findIndex((row) => row.id === state.row)) / PER_PAGE) + 1);
    const page = Math.min(pages, Math.max(1, Number.parseInt(state.page, 10) || 1));
    state.page = String(page);
    const cards = list.slice((page - 1) * PER_PAGE, page * PER_PAGE).map(card);
    get("cards").replaceChildren(...(cards.length ? cards : [element("p", "soft", "No row passes the filter and the search.")]));
    get("cards").classList.toggle("plain", state.diff === "off");
    get("cards").classList.toggle("brief", state.reasons === "off");
    for (const filter of FILTERS) {
      const button = document.querySelector(`[data-filter="${filter}"]`);
      button.setAttribute("aria-pressed", String(filter === state.filter));
      button.querySelector(".count").textContent = within.filter(passes[filter]).length.toLocaleString("en");
    }
    for (const where of document.querySelectorAll("[data-where]")) {
      where.textContent = `${list.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows, page ${page} of ${pages}`;
    }
    for (const button of document.querySelectorAll("[data-step]")) {
      const to = page + Number(button.dataset.step);
      button.disabled = to < 1 || to > pages;
    }
    for (const name of ["run", "against", "label", "order", "search"]) {
      const control = get(name);
      if (control && control.value !== state[name]) control.value = state[name];
    }
    for (const name of ["diff", "reasons"]) get(name)?.setAttribute("aria-pressed", String(state[name] === "on"));
    for (const chip of document.querySelectorAll("[data-column]")) {
      chip.setAttribute("aria-pressed", String(!state.hide.split(",").includes(chip.dataset.column)));
    }
  };
  const remember = () => {
    const given = Object.entries(state).filter(([key, value]) => value !== defaults[key] && !(key === "page" && state.row));
    history.replaceState(null, "", `#${given.length ? new URLSearchParams(given) : "rows"}`);
  };
  const update = (changes) => {
    state = { ...state, page: "1", row: "", ...changes };
    render();
    remember();
  };

  const fromHash = () => {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) return false;
    const given = new URLSearchParams(hash);
    state = { ...defaults };
    for (const key of Object.keys(defaults)) if (given.has(key)) state[key] = given.get(key);
    if (!FILTERS.includes(state.filter)) state.filter = "all";
    for (const key of ["run", "against"]) if (place(state[key]) < 0) state[key] = defaults[key];
    const row = rows.find((candidate) => candidate.id === state.row);
    if (!row) state.row = "";
    else if (!kept().includes(row) || !passes[state.filter](row)) state = { ...state, filter: "all", search: "", label: "" };
    return true;
  };
  const go = () => {
    if (!fromHash()) return;
    render();
    (document.querySelector(".row.target") ?? get("rows")).scrollIntoView();
  };

  const wire = () => {
    for (const button of document.querySelectorAll("[data-filter]")) {
      button.addEventListener("click", () => update({ filter: button.dataset.filter }));
    }
    for (const name of ["label", "order"]) {
      get(name)?.addEventListener("change", (event) => update({ [name]: event.target.value }));
    }
    for (const [name, other] of [["run", "against"], ["against", "run"]]) {
      get(name).addEventListener("change", ({ target: { value } }) => {
        update({ [name]: value, ...(value === state[other] ? { [other]: state[name] } : {}) });  // the two swap places
      });
    }
    let waiting;
    get("search").addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => update({ search: event.target.value }), 150);
    });
    for (const name of ["diff", "reasons"]) {
      get(name)?.addEventListener("click", () => update({ [name]: state[name] === "on" ? "off" : "on", page: state.page }));
    }
    for (const chip of document.querySelectorAll("[data-column]")) {
      chip.addEventListener("click", () => {
        const hidden = new Set(state.hide.split(",").filter(Boolean));
        if (!hidden.delete(chip.dataset.column)) hidden.add(chip.dataset.column);
        update({ hide: [...hidden].join(","), page: state.page });
      });
    }
    for (const button of document.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => {
        update({ page: String(Number(state.page) + Number(button.dataset.step)) });
        if (button.closest("[data-end]")) get("cards").scrollIntoView();
      });
    }
    for (const button of document.querySelectorAll("[data-curve]")) {
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        document.querySelector(`g[data-run="${button.dataset.curve}"]`).classList.toggle("off", !shown);
      });
    }
    addEventListener("hashchange", go);
  };

  wire();
  if (!location.hash.includes("=")) render();
  go();
})();
