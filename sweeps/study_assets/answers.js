// One rater's answers: written into the browser's storage before anything else, then sent one by one. What cannot be
// sent waits and is tried again, so that neither a reload nor a lost connection costs an answer.
"use strict";

class Answers {
  /** design: window.LATENTACT_STUDY. endpoint: address of the server's api, "" for none. onchange: told when more were sent. */
  constructor(design, endpoint, onchange) {
    this.design = design;
    this.endpoint = endpoint.replace(/\/$/, "");
    this.onchange = onchange;
    this.key = `latentact-study-${design.study}`;
    this.state = this.#stored();
    this.waiting_ms = 0;
    this.trouble = "";
    window.addEventListener("online", () => this.#soon(0));
  }

  get begun() { return this.state !== null; }
  get position() { return this.state ? this.state.votes.length : 0; }
  get screens() { return this.design.slots[0].length; }
  get finished() { return this.position >= this.screens; }
  get unsent() { return this.state && this.endpoint ? this.state.votes.length - this.state.sent : 0; }

  /** Draws a random id and a sequence: the server's where there is one, so that sequences stay balanced. */
  async begin() {
    const rater = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    let slot = crypto.getRandomValues(new Uint32Array(1))[0] % this.design.slots.length;
    if (this.endpoint) {
      const reply = await this.#post("raters", { study: this.design.study, rater });
      const said = await reply.json().catch(() => ({}));
      if (!reply.ok) throw new Error(said.error || `the server answers ${reply.status}`);
      slot = said.slot;
    }
    this.state = { rater, slot, votes: [], sent: 0 };
    this.#store();
  }

  /** The pair of this screen and the motion that stands left, as numbers into the design. */
  screen(position = this.position) {
    const [index, left] = this.design.slots[this.state.slot][position];
    const pair = this.design.pairs[index];
    return { pair: pair.id, left: pair.motions[left], right: pair.motions[1 - left] };
  }

  add(choice, plays, answer_ms) {
    const { pair, left } = this.screen();
    this.state.votes.push({ position: this.position, pair, left, choice, plays, answer_ms: Math.round(answer_ms) });
    this.#store();
    this.send();
  }

  /** Sends what is not yet sent, one after the other. */
  async send() {
    if (this.sending || !this.unsent) return;
    this.sending = true;
    const { state } = this;
    const { rater, slot } = state;
    try {
      while (this.unsent) {
        const vote = { study: this.design.study, rater, slot, ...state.votes[state.sent] };
        const reply = await this.#post("votes", vote).catch(() => null);
        if (this.state !== state) return; // another person has taken over meanwhile
        if (!reply || reply.status === 429 || reply.status >= 500) {
          this.trouble = navigator.onLine ? "the server cannot be reached" : "there is no connection";
          this.#soon(Math.min(30000, 2 * this.waiting_ms + 1000));
          return;
        }
        // Any other refusal is for good: to send the same again would change nothing. The file has it all the same.
        state.sent += 1;
        this.waiting_ms = 0;
        this.trouble = reply.ok || reply.status === 409 ? "" : `the server refused an answer (${reply.status})`;
        this.#store();
        this.onchange();
      }
    } finally {
      this.sending = false;
      this.onchange();
      if (this.state !== state) this.send();
    }
  }

  file() {
    const { rater, slot, votes } = this.state;
    return { schema: 1, study: this.design.study, rater, slot, votes };
  }

  forget() {
    this.state = null;
    try { localStorage.removeItem(this.key); } catch { /* nothing was kept */ }
  }

  #post(what, body) {
    const headers = { "content-type": "application/json" };
    return fetch(`${this.endpoint}/${what}`, { method: "POST", headers, body: JSON.stringify(body), credentials: "omit", keepalive: true });
  }

  #soon(wait_ms) {
    this.waiting_ms = wait_ms;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), wait_ms);
  }

  #stored() {
    try {
      return JSON.parse(localStorage.getItem(this.key));
    } catch {
      return null; // no storage here (a private window, perhaps): answers last as long as the page
    }
  }

  #store() {
    try { localStorage.setItem(this.key, JSON.stringify(this.state)); } catch { /* as above */ }
  }
}
