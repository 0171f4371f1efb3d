// Rerank is a plugin that ranks candidates by the cosine of the angle between
// them and the question. The member by of its configuration says what is
// compared:
//
//	vector  the embedding of the question with the stored vectors (default)
//	text    how often each word comes in the question and in the text
//
// Candidates that have no vector, or none of the question's length, get no score
// and so follow in their former order.
package main

import tars "github.com/tars-project/tars/plugins/sdk/go"

var _ = tars.Rank(rank)

type config struct {
	By string `json:"by"`
}

func rank(_ *tars.Context, in tars.RankInput) (tars.RankOutput, error) {
	settings := config{By: "vector"}
	if err := in.Config.Decode(&settings); err != nil {
		return tars.RankOutput{}, err
	}
	switch settings.By {
	case "text":
		return byText(in), nil
	case "vector":
		question, err := tars.Embed(in.Query.Text)
		if err != nil {
			return tars.RankOutput{}, err
		}
		vectors, err := tars.VectorsOf(in.Candidates)
		if err != nil {
			return tars.RankOutput{}, err
		}
		return byVector(question, in.Candidates, vectors), nil
	default:
		return tars.RankOutput{}, &tars.Error{Code: tars.CodeBadConfig, Message: "by is neither vector nor text"}
	}
}

func byVector(question []float32, candidates []tars.Passage, vectors [][]float32) tars.RankOutput {
	var out tars.RankOutput
	for i, c := range candidates {
		if score, ok := cosine(question, vectors[i]); ok {
			out.Scores = append(out.Scores, tars.Score{Index: c.Index, Score: score})
		}
	}
	return out
}

func byText(in tars.RankInput) tars.RankOutput {
	var out tars.RankOutput
	question := count(in.Query.Text)
	for _, c := range in.Candidates {
		out.Scores = append(out.Scores, tars.Score{Index: c.Index, Score: question.cosine(count(c.Text))})
	}
	return out
}

func main() {}
