// The page as a whole: which state it is in, and who is told when that changes.

import { Announcer } from "./announcer.js";
import { loadCode } from "./code.js";
import { Composer } from "./composer.js";
import { showDevice, showDeviceUnknown } from "./device.js";
import { DeviceSwitch } from "./device-switch.js";
import { byId, element, wireDialog } from "./dom.js";
import { isAbort } from "./errors.js";
import { Follower } from "./follower.js";
import { noticeFor } from "./notice.js";
import { ProgressView } from "./progress.js";
import { Settings } from "./settings.js";
import { Classify } from "./classify.js";
import { Extract } from "./extract.js";
import { Search } from "./search.js";
import { ownModels, sizeOf, wireSources } from "./sources.js";
import { hideModel, showMemory, showModel, SpeedMeter } from "./stats.js";
import { placeSheet } from "./sheet.js";
import { Snippet } from "./snippet.js";
import { Talk } from "./talk.js";
import { Transcript } from "./transcript.js";
import { Views, writes } from "./views.js";
import { bytes } from "./words.js";

const announcer = new Announcer(byId("announcer"));
const progress = new ProgressView((line) => announcer.say(line));
const settings = new Settings();
const transcript = new Transcript(byId("transcript"));
const meter = new SpeedMeter();
const follower = new Follower(byId("latest"));

const benches = { classify: new Classify(), extract: new Extract(), search: new Search() };
const views = new Views(() => {
  offerModel();
  arrange();
});

const devices = new DeviceSwitch(() => {
  const again = loading?.request ?? loaded;
  if (again) loadModel(again.source, again.name);
});

let wisplm = null;
let model = null;
/** What `model` was loaded from. */
let loaded = null;
let talk = null;
let loading = null;
/** Of the demo's own models, as promises. */
const sizes = {};

/** How the model that is there is loaded, as source; `also` is to be imported too. */
const opening = (also) => loadCode(loaded.source, devices.device, also);
const snippet = new Snippet(() => (talk && loaded ? talk.code(opening()) : ""));

const composer = new Composer({
  onSend: (text, mode) => {
    byId("welcome").hidden = true;
    composer.setFresh(false);
    talk.send(text, mode);
    follower.follow();
  },
  onStop: () => talk?.stop(),
});

function setState(state) {
  document.body.dataset.state = state;
  byId("offer").hidden = state === "loading";
  arrange();
}

/** Shows what belongs to the state and to the view. */
function arrange() {
  const { state } = document.body.dataset;
  const here = state === "ready" || state === "answering";
  const fits = here && views.fits(model.info);
  const chats = fits && views.name === "chat";
  byId("start").hidden = here;
  byId("model-chip").hidden = !here;
  byId("talk").hidden = byId("dock").hidden = !chats;
  byId("new-conversation").hidden = !chats || transcript.isEmpty;
  const bench = fits ? benches[views.name]?.node : undefined;
  if (bench !== (byId("bench").firstElementChild ?? undefined)) byId("bench").replaceChildren(...(bench ? [bench] : []));
  byId("gate").hidden = !here || fits;
  if (here && !fits) showGate();
}

/** The model that is there cannot do this. */
function showGate() {
  const able = writes(model.info);
  byId("gate-title").textContent = able ? "This takes an embedding model." : "This takes a model that writes.";
  byId("gate-text").textContent = able
    ? `${loaded.name} writes texts. For search, texts have to become vectors, which is what an embedding model does.`
    : `${loaded.name} turns texts into vectors, for search and comparison.`;
  byId("gate-load").textContent = `Load ${ownModels[views.offer].name}`;
}

/** Loads a model in place of the one that is there. A later call, or Cancel, ends an earlier one. */
async function loadModel(source, name) {
  if (!wisplm) return;
  loading?.abort();
  const mine = (loading = Object.assign(new AbortController(), { request: { source, name } }));
  byId("notice").hidden = true;
  setState("loading");
  progress.start(name, typeof source !== "string");
  byId("cancel-load").focus();
  talk?.close();
  talk = null;
  for (const bench of Object.values(benches)) bench.open(null);
  hideModel();
  try {
    // Two models would need the memory of both.
    await model?.close();
    model = loaded = null;
    if (mine.signal.aborted) return;
    const fresh = await wisplm.load(source, {
      device: devices.device,
      signal: mine.signal,
      onProgress: (event) => mine === loading && progress.update(event),
    });
    if (mine !== loading) return void fresh.close();
    model = fresh;
    const opened = await Talk.open({ model, settings, transcript, meter, announcer, onChange: answeringChanged });
    if (mine !== loading) return;
    talk = opened;
    loading = null;
    loaded = { source, name };
    progress.stop();
    const own = Object.values(ownModels).some(({ url }) => url === source);
    welcome(own ? name : model.info.name || name);
  } catch (error) {
    if (mine !== loading) return;
    loading = null;
    progress.stop();
    setState("start");
    if (isAbort(error)) {
      announcer.say("Cancelled.");
      byId("load-default").focus();
    } else {
      showNotice(error, () => loadModel(source, name));
    }
  }
}

function showNotice(error, retry) {
  const again = element("button", { class: "quiet", type: "button" }, "Try again");
  again.addEventListener("click", retry);
  byId("notice").replaceChildren(...noticeFor(error, ...(retry ? [again] : [])));
  byId("notice").hidden = false;
  again.focus();
}

function welcome(name) {
  const { info } = model;
  loaded.name = name;
  for (const bench of Object.values(benches)) bench.open(model, opening);
  setState("ready");
  byId("model-name").textContent = name;
  byId("talk-title").textContent = `Conversation with ${name}`;
  showModel(info, name);
  devices.showUse(info);
  showMemory(info.memory, writes(info));
  startConversation();
  byId("welcome-text").textContent =
    info.parameters < 3e9
      ? `${name} is small. It writes fluently and often gets facts wrong: enjoy it, and check what matters.`
      : `${name} is loaded. It can be wrong: check what matters.`;
  byId("welcome-notices").replaceChildren(...info.notices.map((notice) => element("li", {}, notice)));
  composer.open({ chats: talk.chats });
  if (!byId("dock").hidden) composer.focus();
  announcer.say(`${name} is loaded.`);
}

function startConversation() {
  talk.clear();
  byId("welcome").hidden = false;
  arrange();
  composer.setFresh(true);
  snippet.refresh();
}

function answeringChanged({ answering }) {
  setState(answering ? "answering" : "ready");
  snippet.refresh();
  composer.setAnswering(answering);
  // The button that asked again is gone; the keyboard's place is the prompt.
  if (answering && document.activeElement === document.body) composer.focus();
  if (answering) follower.start();
  else follower.stop();
  if (answering || !model) return;
  showMemory(model.info.memory, true);
  // A GPU that was lost has left the model to the processor.
  devices.showUse(model.info);
}

/** Offers the demo's model for the view. */
async function offerModel() {
  const own = ownModels[views.offer];
  const size = await (sizes[views.offer] ??= sizeOf(own));
  // Another view may have been chosen meanwhile.
  if (own !== ownModels[views.offer]) return;
  byId("load-default").hidden = byId("gate-load").hidden = size === null;
  byId("default-source").hidden = size === null;
  byId("default-size").textContent = size ? bytes(size) : "";
  byId("default-note").textContent =
    size === null
      ? "The demo's own model is not on this server (“make models” puts it there). Any other GGUF file will do."
      : `${own.name}, kept in this browser after the first time where it allows that.`;
}

const loadOwn = () => loadModel(ownModels[views.offer].url, ownModels[views.offer].name);

/** Asks for the isolation that threads need; without it everything else works. */
async function isolation() {
  try {
    const { isolate } = await import("./pkg/isolation.js");
    return await isolate();
  } catch (error) {
    return { state: "unavailable", reason: error.message };
  }
}

async function start() {
  settings.render(byId("settings-form"));
  wireDialog(byId("settings"), byId("open-settings"));
  wireDialog(byId("sources"), byId("open-sources"));
  wireDialog(byId("sources"), byId("model-chip"));
  wireDialog(byId("details"), byId("open-details"));
  placeSheet();
  wireDialog(byId("sources"), byId("gate-sources"));
  wireSources(loadModel, (file) => {
    location.hash = "#classify";
    benches.classify.takeFile(file);
  });
  byId("talk").append(snippet.node);
  byId("settings").addEventListener("close", () => snippet.refresh());
  byId("load-default").addEventListener("click", loadOwn);
  byId("gate-load").addEventListener("click", loadOwn);
  byId("cancel-load").addEventListener("click", () => loading?.abort());
  byId("new-conversation").addEventListener("click", () => {
    startConversation();
    composer.focus();
  });
  offerModel();
  arrange();

  const isolated = await isolation();
  // The page comes again at once: what would be begun here would be lost.
  if (isolated.state === "reloading") return;
  try {
    wisplm = await import("./pkg/index.js");
  } catch (error) {
    byId("load-default").disabled = true;
    const missing = new Error(`./pkg/index.js could not be imported: ${error.message}. “make build” makes it.`);
    return showNotice(Object.assign(missing, { code: "internal" }));
  }
  try {
    const report = await wisplm.probe();
    showDevice(report, isolated);
    devices.show(report);
    if (model) devices.showUse(model.info);
  } catch {
    showDeviceUnknown();
  }
}

start();
