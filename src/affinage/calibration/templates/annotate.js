"use strict";
// Texts of models and data enter the page through textContent alone, so that no markup in them becomes an element.
(() => {
  const { sheet, key, columns, lines, levels } = JSON.parse(document.getElementById("data").textContent);
  const PARTS = ["instruction", "input", "reference", "answer"];
  const MARKED = /^'+[=+\-@\t\r\n＝＋－＠]/;
  const FORMULA = /^'*[=+\-@\t\r\n＝＋－＠]/;
  const get = (id) => document.getElementById(id);
  const [score, comment, name] = ["score", "comment", "name"].map(get);
  let place = 0, filled = {}, kept = false, unsaved = false;

  const load = () => {
    try {
      const stored = JSON.parse(localStorage.getItem(key) ?? "{}");
      filled = stored.filled ?? {};
      name.value = stored.name ?? "";
    } catch { /* a browser that keeps nothing for files: the warning at leaving remains */ }
  };
  const store = () => {
    unsaved = true;
    try {
      localStorage.setItem(key, JSON.stringify({ filled, name: name.value }));
      kept = true;
    } catch {
      kept = false;
      get("said").textContent = "This browser does not remember your scores: download the sheet before you leave.";
    }
  };

  const current = () => (filled[lines[place].item] ??= { score: "", comment: "" });
  const hasScore = (line) => Boolean(filled[line.item]?.score);
  const valid = (text) => /^\d{1,3}([.,]\d+)?$/.test(text) && Number(text.replace(",", ".")) <= 100;

  const showScore = () => {
    const wrong = Boolean(score.value.trim()) && !valid(score.value.trim());
    score.setAttribute("aria-invalid", wrong);
    get("problem").hidden = !wrong;
    for (const button of get("levels").children) button.setAttribute("aria-pressed", button.value === current().score);
    const done = lines.filter(hasScore).length;
    get("progress").value = done;
    get("scored").textContent = `${done} of ${lines.length} scored`;
    get("open").disabled = done === lines.length;
  };
  const show = () => {
    const line = lines[place];
    get("place").textContent = `Answer ${place + 1} of ${lines.length}`;
    for (const part of PARTS) {
      get(part).textContent = MARKED.test(line[part]) ? line[part].slice(1) : line[part];
      get(`part-${part}`).hidden = !line[part];
    }
    score.value = current().score;
    comment.value = current().comment;
    get("previous").disabled = place === 0;
    get("next").disabled = place === lines.length - 1;
    showScore();
  };
  const setScore = (text) => {
    current().score = valid(text.trim()) ? text.trim() : "";
    store();
    showScore();
  };
  const go = (to) => {
    if (to < 0 || to >= lines.length || to === place) return;
    place = to;
    show();
    get("place").scrollIntoView({ block: "nearest" });
    if (document.activeElement === score) score.select();
  };
  const nextOpen = () => {
    const order = [...lines.keys()].map((step) => (place + 1 + step) % lines.length);
    const found = order.find((index) => !hasScore(lines[index]));
    if (found !== undefined) go(found);
  };

  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const guarded = (text) => (FORMULA.test(text) ? `'${text}` : text);
  const csv = () => {
    const rows = lines.map((line) => {
      const { score: given = "", comment: said = "" } = filled[line.item] ?? {};
      const whole = { ...line, score: given, comment: guarded(said) };
      return columns.map((column) => cell(whole[column])).join(",");
    });
    return `\ufeff${[columns.join(","), ...rows].join("\r\n")}\r\n`;
  };
  const download = () => {
    const who = name.value.normalize("NFC").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "") || "scored";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
    link.download = `${sheet}-${who}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    unsaved = false;
    const open = lines.filter((line) => !hasScore(line)).length;
    get("said").textContent = `Downloaded as ${link.download}${open ? `; ${open} answers have no score yet` : ""}.`;
  };

  Object.keys(levels).map(Number).sort((a, b) => a - b).forEach((level) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", value: String(level), textContent: String(level), title: levels[level] });
    button.addEventListener("click", (event) => {
      score.value = button.value;
      setScore(button.value);
      if (event.detail) button.blur(); // after a mouse, Enter goes on; at the keyboard it presses the button
    });
    get("levels").append(button);
  });
  score.addEventListener("input", () => setScore(score.value));
  comment.addEventListener("input", () => { current().comment = comment.value; store(); });
  name.addEventListener("input", store);
  get("previous").addEventListener("click", () => go(place - 1));
  get("next").addEventListener("click", () => go(place + 1));
  get("open").addEventListener("click", nextOpen);
  get("download").addEventListener("click", download);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === comment || event.target === name) return;
    if (event.key === "Enter" && event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") go(place + 1);
    if (event.target === score) return;
    if (event.key === "ArrowRight") go(place + 1);
    if (event.key === "ArrowLeft") go(place - 1);
    if (/^[1-9]$/.test(event.key)) get("levels").children[Number(event.key) - 1]?.click();
  });
  addEventListener("beforeunload", (event) => { if (unsaved && !kept) event.preventDefault(); });
  load();
  show();
})();
