// Puts new events on top of the overview as the ledger grows. Without it the page is read as it is.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !("EventSource" in window)) return;
  const list = document.getElementById(live.dataset.list);
  const row = document.getElementById("live-row");
  const told = document.getElementById("live-new");
  const stream = new EventSource(live.dataset.url);
  let fresh = 0;

  const piece = ([text, href]) => {
    if (!href) return document.createTextNode(text);
    const link = document.createElement("a");
    link.href = href;
    link.textContent = text;
    return link;
  };

  const add = (event) => {
    const item = row.content.cloneNode(true).firstElementChild;
    item.classList.add("fresh");
    item.querySelector("time").textContent = event.when;
    item.querySelector(".what").append(...event.parts.map(piece));
    const more = item.querySelector(".more");
    more.href = event.href;
    more.setAttribute("aria-label", `${more.textContent}: ${event.parts.map(([text]) => text).join("")}`);
    list.prepend(item);
    while (list.children.length > Number(live.dataset.most)) list.lastElementChild.remove();
  };

  stream.addEventListener("open", () => {
    live.hidden = false;
  });
  stream.addEventListener("block", (message) => {
    const { events } = JSON.parse(message.data);
    events.forEach(add);
    document.getElementById("latest-none")?.remove();
    fresh += events.length;
    told.textContent = live.dataset.new + fresh;
  });
  stream.addEventListener("turned", () => {
    document.getElementById("live-turned").hidden = false;
  });
})();
