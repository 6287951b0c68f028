// SPDX-License-Identifier: Apache-2.0
package app;

/** Its verification must check that Report is a Document, so it loads both. */
public class Renderer {
  public Document last;

  public void keep(Report report) {
    last = report;
  }
}

class Document {}

class Report extends Document {}
