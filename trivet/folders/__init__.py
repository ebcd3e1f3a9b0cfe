"""What the command line and the MCP server do with a folder of code and notes, through a Trivet server.

    read_folder     the folder's texts, and what is omitted
    update_index    embeds what has changed, into one index file
    search          the passages that answer a question, with their places
    rank_passages   files by their best passage
    collect_graph   the relations between all texts of a folder, continued where an interrupted run stopped
    exports         that graph as HTML, JSON, GraphML or Cypher

No model is loaded here. Paths are relative to the folder, with `/` between their parts.
"""
