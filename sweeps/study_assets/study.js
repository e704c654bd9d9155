// The course of a study: what it is about, one pair after the other, thank you.
"use strict";

(() => {
  const design = window.LATENTACT_STUDY;
  const at = (id) => document.getElementById(id);
  const endpoint = document.querySelector('meta[name="study-endpoint"]').content;
  const answers = new Answers(design, endpoint, showSent);
  const buttons = { left: at("choose-left"), right: at("choose-right"), same: at("choose-same") };
  const keys = { ArrowLeft: "left", ArrowRight: "right", ...(design.ties ? { ArrowDown: "same" } : {}) };
  const loading = new Map(); // pair id -> promise of its data
  const arrived = new Map(); // pair id -> what to do with it
  let stage = null;
  let open = false; // whether an answer is taken

  window.LATENTACT_PAIR = (pair) => arrived.get(pair.id)?.(pair);

  function load(id) {
    if (!loading.has(id)) {
      loading.set(id, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        arrived.set(id, resolve);
        script.src = `pairs/${id}.js`;
        script.onerror = () => { loading.delete(id); reject(new Error("these motions could not be loaded")); };
        script.onload = () => script.remove();
        document.head.append(script);
      }));
    }
    return loading.get(id);
  }

  function page(id) {
    for (const one of ["about", "trial", "done"]) at(one).hidden = one !== id;
  }

  function problem(where, message, retry) {
    at(where).hidden = !message;
    at(where).textContent = message ? `${message[0].toUpperCase()}${message.slice(1)}. ` : "";
    if (!message || !retry) return;
    const button = document.createElement("button");
    button.textContent = "Try again";
    const again = () => { window.removeEventListener("online", again); retry(); };
    button.addEventListener("click", again);
    window.addEventListener("online", again);
    at(where).append(button);
  }

  function showSent() {
    const waiting = answers.unsent ? `${answers.unsent} of your answers wait to be sent: ` : "";
    at("sent").textContent = answers.trouble ? `${waiting}${answers.trouble}.` : "";
    if (!at("done").hidden) showDone();
  }

  function showAbout() {
    at("about-text").replaceChildren(...design.about.map((words) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = words;
      return paragraph;
    }));
    at("about-shown").textContent = `On each of ${answers.screens} screens two motions of a hand stand side by side, with what the hand is to do` +
      (design.photos ? " and a photo of the beginning." : ".");
    at("about-choice").textContent = design.ties
      ? "Choose the one that fits better, or say that there is no difference."
      : "Choose the one that fits better. If you see no difference, choose by your feeling.";
    at("about-touching").hidden = !design.contact;
    at("about-tie").hidden = !design.ties;
    page("about");
    at("begin").focus();
  }

  async function begin() {
    at("begin").disabled = true;
    problem("about-problem", "");
    try {
      if (!answers.begun) await answers.begin();
      await next();
    } catch (error) {
      const lost = error instanceof TypeError; // fetch says no more than that
      problem("about-problem", lost ? "the server cannot be reached: try again in a moment" : error.message);
    }
    at("begin").disabled = false;
  }

  async function next() {
    if (answers.finished) return showDone();
    page("trial");
    at("question").textContent = design.question;
    buttons.same.hidden = !design.ties;
    const bar = document.querySelector(".bar");
    bar.setAttribute("aria-valuemax", answers.screens);
    bar.setAttribute("aria-valuenow", answers.position);
    bar.firstElementChild.style.width = `${(100 * answers.position) / answers.screens}%`;
    at("count").textContent = `${answers.position + 1} of ${answers.screens}`;
    accept(false, "Loading");
    problem("trial-problem", "");
    const screen = answers.screen();
    try {
      stage ??= new Stage(at("left"), at("right"), design.faces, (plays) => { if (plays === 1) accept(true, hint()); });
      const pair = await load(screen.pair);
      at("text").textContent = pair.text ? `“${pair.text}”` : "";
      at("photo").hidden = !pair.photo;
      if (pair.photo) at("photo").src = pair.photo;
      await stage.show(pair.motions[screen.left], pair.motions[screen.right]);
    } catch (error) {
      return problem("trial-problem", error.message, next);
    }
    at("trial").dataset.screen = answers.position;
    accept(false, "Watch both motions to the end first");
    if (answers.position + 1 < answers.screens) load(answers.screen(answers.position + 1).pair).catch(() => {});
  }

  function hint() {
    return matchMedia("(hover: none)").matches ? "Tap your answer" : `Answer with the arrow keys; space plays from the start`;
  }

  function accept(may, words) {
    open = may;
    for (const button of Object.values(buttons)) {
      button.disabled = !may;
      button.classList.remove("chosen");
    }
    at("hint").textContent = words;
  }

  function choose(choice) {
    if (!open) return;
    const { pair } = answers.screen();
    accept(false, "");
    buttons[choice].classList.add("chosen");
    buttons[choice].blur(); // so that the next space plays again and answers nothing
    answers.add(choice, stage.plays, stage.seen_ms);
    const later = new Set(design.slots[answers.state.slot].slice(answers.position).map(([index]) => design.pairs[index].id));
    if (!later.has(pair)) loading.delete(pair);
    showSent();
    setTimeout(next, 250); // the choice is seen to have been taken
  }

  function showDone() {
    stage?.stop();
    page("done");
    const words = !endpoint
      ? "Your answers are kept in this browser. Save them as a file, and send it to whoever invited you."
      : answers.unsent
        ? "Please leave this page open until your last answers are sent."
        : "Your answers have arrived. You can close this page.";
    at("done-text").textContent = words;
    at("done").dataset.unsent = answers.unsent;
    at("save").classList.toggle("main", !endpoint);
  }

  function save() {
    const url = URL.createObjectURL(new Blob([JSON.stringify(answers.file(), null, 1)], { type: "application/json" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `study-${design.study}-${answers.state.rater.slice(0, 8)}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    answers.saved = true;
  }

  document.addEventListener("keydown", (event) => {
    if (at("trial").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key === " " && event.target.tagName !== "BUTTON") {
      event.preventDefault();
      if (stage?.frames) stage.restart();
    } else if (keys[event.key]) {
      event.preventDefault();
      choose(keys[event.key]);
    }
  });
  for (const [choice, button] of Object.entries(buttons)) button.addEventListener("click", () => choose(choice));
  at("begin").addEventListener("click", begin);
  at("save").addEventListener("click", save);
  at("again").addEventListener("click", () => {
    const lost = endpoint ? answers.unsent > 0 : !answers.saved;
    if (lost && !confirm("These answers are not sent or saved yet and would be lost. Begin anew all the same?")) return;
    answers.forget();
    showSent();
    showAbout();
  });

  if (!answers.begun) showAbout();
  else next();
  answers.send();
  showSent();
})();
